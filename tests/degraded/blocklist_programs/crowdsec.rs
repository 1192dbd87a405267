//! `cscli decisions import`, with CrowdSec's local API in the namespace.

use std::net::TcpStream;

use ctwatch_lab::{Namespace, Unpacked, wait};
use serde_json::Value;

use super::{format, many, odd, programs};

/// No more than the local API needs: nothing is read, and nothing is asked of others.
const CONFIGURATION: &str = "\
common: {log_media: stdout, log_level: info, working_dir: .}
config_paths:
  config_dir: /etc/crowdsec/
  data_dir: /var/lib/crowdsec/data/
  simulation_path: /etc/crowdsec/simulation.yaml
  hub_dir: /var/lib/crowdsec/hub/
  index_path: /var/lib/crowdsec/hub/.index.json
cscli: {output: human}
db_config: {log_level: info, type: sqlite, db_path: /var/lib/crowdsec/data/crowdsec.db}
api:
  client: {credentials_path: /etc/crowdsec/local_api_credentials.yaml}
  server:
    log_level: info
    listen_uri: 127.0.0.1:8080
    profiles_path: /etc/crowdsec/profiles.yaml
    console_path: /etc/crowdsec/console.yaml
prometheus: {enabled: false}
";

/// Starts the local API and waits until it answers.
fn start(unpacked: &mut Unpacked, namespace: &Namespace) {
    unpacked.write("/etc/crowdsec/config.yaml", CONFIGURATION).unwrap();
    unpacked.write("/var/lib/crowdsec/hub/.index.json", "{}").unwrap();
    unpacked.write("/var/lib/crowdsec/data/made", "").unwrap();
    unpacked.run_well("cscli", &["machines", "add", "--auto", "--force"], "").unwrap();
    unpacked.start("crowdsec", &["-no-cs"], "/var/log/crowdsec").unwrap();
    let answered = wait::until(wait::PATIENCE, "CrowdSec's local API", || {
        Ok(namespace.within(|| Ok(TcpStream::connect("127.0.0.1:8080")?)).ok())
    });
    answered
        .map_err(|error| format!("{error}: {}", unpacked.read("/var/log/crowdsec").unwrap()))
        .unwrap();
}

/// Imports a list as the format's row says, and returns all that is decided then, as JSON.
fn import(unpacked: &Unpacked, text: &str) -> String {
    let format = format("crowdsec");
    let command = format.what.split('\'').nth(1).unwrap();
    unpacked.write("/root/FILE.json", text).unwrap();
    unpacked.run_well("sh", &["-c", &format!("cd /root && {command}")], "").unwrap();
    // Without `--all` what is imported is left out.
    let arguments = ["decisions", "list", "--all", "--limit", "0", "--output", "json"];
    unpacked.run_well("cscli", &arguments, "").unwrap()
}

#[test]
fn crowdsec_decides_what_the_list_says() {
    let Some((gateway, mut unpacked)) = programs() else { return };
    start(&mut unpacked, gateway.gateway());
    let listed = import(&unpacked, &(format("crowdsec").render)(&odd()));
    let alerts: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let decisions: Vec<&Value> =
        alerts.iter().flat_map(|alert| alert["decisions"].as_array().unwrap()).collect();
    let text = |decision: &Value, key: &str| decision[key].as_str().unwrap().to_owned();
    let mut found: Vec<_> = decisions
        .iter()
        .map(|decision| ["scope", "value", "type", "scenario"].map(|key| text(decision, key)))
        .collect();
    // It may be over before it is listed.
    found.retain(|[_, value, ..]| value != "10.9.0.5/16");
    found.sort();
    let quoted = "holds \"80 %\" of the table\\\n$(reboot) `x` 'y' # z <ip>";
    let long = "é".repeat(200);
    // What is there twice is listed once.
    let expected = [
        ["Ip", "10.0.1.66", "ban", quoted],
        ["Ip", "::ffff:10.0.1.67", "ban", "mapped"],
        ["Range", "0.0.0.0/0", "ban", &long],
        ["Range", "2001:db8::/64", "ban", "a network of 2^64 addresses"],
        ["Range", "::/0", "ban", "\0\r\n\t"],
    ];
    assert_eq!(found, expected);
    let duration = |value: &str| {
        let decision = decisions.iter().find(|decision| decision["value"] == value).unwrap();
        text(decision, "duration")
    };
    let left = duration("2001:db8::/64");
    assert!(left.starts_with("9m") && left.ends_with('s'), "{left}");
    // The longest that there is, less what has gone by.
    assert!(duration("0.0.0.0/0").starts_with("2562047h47m"));
}

#[test]
fn crowdsec_takes_100_000_addresses() {
    let Some((gateway, mut unpacked)) = programs() else { return };
    start(&mut unpacked, gateway.gateway());
    let listed = import(&unpacked, &(format("crowdsec").render)(&many(100_000)));
    assert_eq!(listed.matches("\"origin\": \"cscli-import\"").count(), 100_000);
}
