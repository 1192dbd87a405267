//! What must not be anywhere, and how long a file may be.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ctwatch::probe::{
    drops,
    hooks::{HOOKS, RARE_HOOKS},
};

const FILE_LINES_MAX: usize = 500;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a member lies in the workspace")
        .to_owned()
}

/// Every Rust file under a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![workspace().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources under {folder}");
    found
}

/// The lines of code that hold one of the words; comments and unit tests are left out.
fn lines_with(sources: &[(PathBuf, String)], words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    let is_code = |path: &Path| {
        !path.file_name().is_some_and(|name| name == "tests.rs" || name == "reference_tests.rs")
    };
    for (path, text) in sources.iter().filter(|(path, _)| is_code(path)) {
        let code_lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
        for (number, line) in code_lines.enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                hits.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    hits
}

fn none(hits: &[String], why: &str) {
    assert!(hits.is_empty(), "{why}:\n{}", hits.join("\n"));
}

#[test]
fn model_advice_and_blocklists_are_pure() {
    let impure = [
        "tokio",
        "aya",
        "rustix",
        "libc::",
        "std::fs",
        "std::io",
        "std::thread",
        "std::process",
        "Instant",
        "SystemTime",
        "Socket",
        "unsafe",
        "crate::probe",
        "crate::host",
        "crate::conntrack",
        "crate::collect",
    ];
    for folder in ["ctwatch/src/model", "ctwatch/src/advise", "ctwatch/src/blocklist"] {
        let hits = lines_with(&sources(folder), &impure);
        none(&hits, "they do no I/O and know no clock");
    }
}

#[test]
fn output_reads_the_model_only() {
    let other_rooms =
        ["crate::probe", "crate::host", "crate::conntrack", "crate::collect", "crate::session"];
    none(&lines_with(&sources("ctwatch/src/output"), &other_rooms), "output formats, nothing else");
}

#[test]
fn only_probe_names_aya_and_is_unsafe() {
    let outside: Vec<_> = sources("ctwatch/src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with(workspace().join("ctwatch/src/probe")))
        .collect();
    none(&lines_with(&outside, &["aya::", "aya_obj::", "unsafe "]), "aya and unsafe are probe's");
    let harmless = ["ctwatch-common/src", "xtask/src", "tests/lab/src"];
    for folder in harmless {
        none(&lines_with(&sources(folder), &["unsafe {", "unsafe fn"]), "unsafe is probe's");
    }
}

#[test]
fn only_change_writes_to_the_system() {
    let writes = ["fs::write", "File::create", "OpenOptions"];
    let outside: Vec<_> = sources("ctwatch/src")
        .into_iter()
        .filter(|(path, _)| !path.starts_with(workspace().join("ctwatch/src/change")))
        .collect();
    // A file that the user names is the output of a command: a recording, or what takes the place of a list.
    let writes_output = ["recording/writer.rs", "command/replaced_file.rs"]
        .map(|file| workspace().join("ctwatch/src").join(file));
    let looking: Vec<_> =
        outside.iter().filter(|(path, _)| !writes_output.contains(path)).cloned().collect();
    none(&lines_with(&looking, &writes), "looking changes nothing");
    // No file of the kernel's shows firewall rules: this one runs the programs that list them, each named there.
    let lists_rules = workspace().join("ctwatch/src/host/programs.rs");
    let others: Vec<_> = outside.into_iter().filter(|(path, _)| *path != lists_rules).collect();
    none(&lines_with(&others, &["process::Command", "Command::new"]), "looking runs no program");
}

#[test]
fn only_change_ends_entries() {
    let others: Vec<_> = sources("ctwatch/src")
        .into_iter()
        .filter(|(path, _)| !path.ends_with("conntrack/one_entry.rs"))
        .filter(|(path, _)| !path.ends_with("conntrack/from_source.rs"))
        .filter(|(path, _)| !path.starts_with(workspace().join("ctwatch/src/change")))
        .collect();
    none(&lines_with(&others, &["Wanted::Ended"]), "looking ends no entry");
}

#[test]
fn what_each_hook_expects_of_its_function_is_said_on_both_sides() {
    let hooks = sources("ctwatch-ebpf/src/hooks");
    let lines = hooks.iter().flat_map(|(_, text)| text.lines());
    let kernel_side: BTreeSet<&str> =
        lines.filter_map(|line| line.strip_prefix("//! prototype: ")).collect();
    let expected =
        HOOKS.iter().chain(RARE_HOOKS).flat_map(|hook| hook.prototypes).chain(drops::PROTOTYPES);
    assert_eq!(kernel_side, expected.copied().collect());
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    let folders = ["ctwatch/src", "ctwatch-common/src", "ctwatch-ebpf/src", "xtask/src", "tests"];
    let long: Vec<String> = folders
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    none(&long, "a file has one concept");
}
