//! What is written beside a block in the firewall itself: since when, by whom, why. It is all that a block leaves behind,
//! so that it is told wherever the rules are listed, and is gone when the block is.

/// The most bytes of a comment (`NFTNL_UDATA_COMMENT_MAXLEN`, include/libnftnl/udata.h and src/parser_bison.y of nftables: 128,
/// its final zero included).
pub const NOTE_BYTES_MAX: usize = 127;

/// Since when, by whom and why something is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub since_s: u64,
    /// The user who did it, or `blocklist`.
    pub by: String,
    /// Why, in a short sentence.
    pub why: String,
}

impl Note {
    /// The note as one line that stands between quotes in a rule: what nft's strings cannot hold is replaced, and it ends
    /// where there is no more room.
    pub fn to_text(&self) -> String {
        let Self { since_s, by, why } = self;
        let by: String =
            by.chars().map(|each| if each.is_whitespace() { '_' } else { each }).collect();
        quoted_line(&format!("since={since_s} by={by} why={why}"), NOTE_BYTES_MAX)
    }

    /// The note of a line; `None` if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (since, rest) = text.strip_prefix("since=")?.split_once(" by=")?;
        let (by, why) =
            rest.split_once(" why=").or_else(|| Some((rest.strip_suffix(" why=")?, "")))?;
        Some(Self { since_s: since.parse().ok()?, by: by.to_owned(), why: why.to_owned() })
    }
}

/// A text as one line that stands between quotes in somebody's rules, cut off where it would have more bytes than that.
pub(super) fn quoted_line(text: &str, bytes_max: usize) -> String {
    let mut line: String = text.chars().map(quotable).collect();
    let mut end = line.len().min(bytes_max);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line.truncate(line.trim_end().len());
    line
}

/// A string of nft ends at its first quote, whatever stands before that; so does one of ipset.
fn quotable(each: char) -> char {
    match each {
        '"' => '\'',
        '\\' => '/',
        each if each.is_control() => ' ',
        each => each,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_note_is_one_line_that_can_be_quoted() {
        let note = Note { since_s: 7, by: "the admin".to_owned(), why: "a \"b\"\\\nc".to_owned() };
        assert_eq!(note.to_text(), "since=7 by=the_admin why=a 'b'/ c");
        for other in ["", "since=x by=a why=b", "since=1 by=a", "a comment"] {
            assert_eq!(Note::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_note_is_read_back(since_s: u64, by in "[a-z_][a-z0-9_-]{0,15}", why in "[a-zA-Z0-9%.,:é]([a-zA-Z0-9 %.,:é]{0,40}[a-z])?") {
            let note = Note { since_s, by, why };
            let text = note.to_text();
            prop_assert!(text.len() <= NOTE_BYTES_MAX);
            prop_assert_eq!(Note::parse(&text), Some(note));
        }

        #[test]
        fn any_note_fits_and_can_be_quoted(since_s: u64, by: String, why: String) {
            let text = Note { since_s, by, why }.to_text();
            prop_assert!(text.len() <= NOTE_BYTES_MAX && !text.contains(['"', '\\', '\n', '\0']));
        }
    }
}
