//! Who runs this program: the person, also behind sudo.

use std::{env, fs};

use rustix::process::getuid;

/// Who runs this program: whoever called sudo (sudo(8)), else the user by its name, else by its number. It is for the record
/// only: whoever is root can say anything here.
pub fn name() -> String {
    let uid = getuid().as_raw();
    let behind_sudo = env::var("SUDO_USER").ok().filter(|name| uid == 0 && !name.is_empty());
    behind_sudo.unwrap_or_else(|| {
        // Users that are not in this file are told by their number.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        name_of(uid, &passwd).map_or_else(|| uid.to_string(), str::to_owned)
    })
}

/// The name of a user, by the lines `NAME:PASSWORD:UID:…` (passwd(5)).
fn name_of(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_told_by_the_name_of_its_number() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nshort\n:x:7:\noperator:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name_of(0, passwd), Some("root"));
        assert_eq!(name_of(1000, passwd), Some("operator"));
        assert_eq!([name_of(7, passwd), name_of(100, passwd)], [None, None]);
        assert!(!name().is_empty());
    }
}
