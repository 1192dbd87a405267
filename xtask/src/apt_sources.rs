//! Reads the machine's own apt sources and points them at other suites of the same archive; it must not know any mirror's name.

/// One archive that the machine already fetches from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where the archive is.
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// The value of `Signed-By`, a path or a whole key block, as it was written.
    signed_by: Option<String>,
}

/// Parses a `*.list` file, one source a line (sources.list(5)); comments, source packages and odd lines are passed over.
pub(crate) fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

/// Parses a `*.sources` file, one source a stanza (deb822); disabled stanzas and source packages are passed over.
pub(crate) fn parse_deb822(text: &str) -> Vec<Source> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    without_comments.split(|line| line.trim().is_empty()).flat_map(parse_stanza).collect()
}

/// The machine's source for another suite of its distribution, for instance `trixie-backports`, with only the suite's name changed.
///
/// `distribution` is the `ID` of os-release(5). Security suites may lie in an archive of their own, so they follow
/// the machine's own security source; every other suite follows the archive proper. Third parties use the same suite
/// names, so an archive whose path ends in the distribution's name comes first.
pub(crate) fn retarget(sources: &[Source], distribution: &str, suite: &str) -> Option<Source> {
    let wants_security = is_security(suite);
    let mut candidates: Vec<&Source> = sources
        .iter()
        .filter(|source| source.components.iter().any(|component| component == "main"))
        .filter(|source| source.suites.iter().any(|name| is_security(name) == wants_security))
        .collect();
    let is_distribution = |source: &&Source| {
        let path = source.uri.trim_end_matches('/');
        path.rsplit('/').next().is_some_and(|end| end.starts_with(distribution))
    };
    candidates.sort_by_key(|source| !is_distribution(source));
    let source = candidates.first()?;
    Some(Source {
        suites: vec![suite.to_owned()],
        components: vec!["main".to_owned()],
        ..(*source).clone()
    })
}

impl Source {
    /// The source as a deb822 stanza.
    pub(crate) fn to_deb822(&self) -> String {
        let mut stanza = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            self.uri,
            self.suites.join(" "),
            self.components.join(" ")
        );
        if let Some(signed_by) = &self.signed_by {
            stanza.push_str(&format!("Signed-By: {signed_by}\n"));
        }
        stanza
    }
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security") || suite.ends_with("/updates")
}

fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .map(str::to_owned);
    let mut words = rest.split_whitespace().map(str::to_owned);
    let uri = words.next()?;
    let suites = vec![words.next()?];
    Some(Source { uri, suites, components: words.collect(), signed_by })
}

fn parse_stanza(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| -> Option<String> {
        let start = lines.iter().position(|line| {
            line.split_once(':').is_some_and(|(key, _)| {
                key.trim().eq_ignore_ascii_case(name) && !key.starts_with(' ')
            })
        })?;
        let mut following = lines.iter().skip(start);
        let mut value = following.next()?.split_once(':')?.1.trim().to_owned();
        for continuation in following.take_while(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(continuation);
        }
        Some(value)
    };
    let words = |name: &str| -> Vec<String> {
        field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let is_enabled = field("Enabled")
        .is_none_or(|value| !matches!(value.to_lowercase().as_str(), "no" | "false"));
    if !is_enabled || !words("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    words("URIs")
        .into_iter()
        .map(|uri| Source {
            uri,
            suites: words("Suites"),
            components: words("Components"),
            signed_by: field("Signed-By"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: sid
Components: main
";

    #[test]
    fn a_suite_of_the_archive_keeps_everything_but_the_suite() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 2);
        let source = retarget(&sources, "debian", "trixie-backports").unwrap();
        assert_eq!(
            source.to_deb822(),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie-backports\nComponents: main\nSigned-By: /usr/share/keyrings/archive.gpg\n"
        );
    }

    #[test]
    fn a_security_suite_follows_the_security_archive_with_its_key_block() {
        let source = retarget(&parse_deb822(DEB822), "debian", "trixie-security").unwrap();
        assert_eq!(
            source.to_deb822(),
            "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\nSigned-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        );
    }

    #[test]
    fn one_line_sources_are_read_with_their_options() {
        let sources = parse_one_line(
            "deb-src http://mirror.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://third.example/apt bookworm main # theirs\n\
             deb http://mirror.example/debian/ bookworm main contrib\n\
             # deb http://mirror.example/debian sid main\n\
             deb [broken http://mirror.example\n\
             deb\n",
        );
        assert_eq!(sources.len(), 2);
        let source = retarget(&sources, "debian", "trixie").unwrap();
        assert_eq!(
            source.to_deb822(),
            "Types: deb\nURIs: http://mirror.example/debian/\nSuites: trixie\nComponents: main\n"
        );
    }

    #[test]
    fn without_a_fitting_archive_there_is_no_source() {
        assert_eq!(retarget(&[], "debian", "trixie"), None);
        let only_other_components =
            parse_one_line("deb http://third.example/debian bookworm stable");
        assert_eq!(retarget(&only_other_components, "debian", "trixie"), None);
        let no_security = parse_one_line("deb http://mirror.example/debian bookworm main");
        assert_eq!(retarget(&no_security, "debian", "trixie-security"), None);
    }
}
