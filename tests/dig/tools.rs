//! The real `dig` and `delv`, run in the client's namespace, their output picked apart.

use std::process::Stdio;

use crate::lab::Lab;
use crate::resolver::ADDRESS;

/// What dig printed.
#[derive(Debug, Default)]
pub struct Dig {
    pub status: String,
    pub flags: Vec<String>,
    /// The lines of the answer section.
    pub answer: Vec<String>,
    /// The lines of the authority section.
    pub authority: Vec<String>,
    /// Extended DNS error codes.
    pub ede: Vec<u16>,
    /// Everything, for the message of a failed assertion.
    pub text: String,
}

impl Dig {
    pub fn flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|have| have == flag)
    }

    /// Whether the answer holds a record whose type and data read like this.
    pub fn has(&self, rtype: &str, data: &str) -> bool {
        let wanted = format!(" {rtype} {data}");
        let single_spaced = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.answer
            .iter()
            .any(|line| single_spaced(line).contains(&wanted))
    }
}

/// Runs dig at the resolver with the arguments given, separated by blanks; one try of five seconds.
pub fn dig(lab: &Lab, arguments: &str) -> Dig {
    dig_at(lab, "client", ADDRESS, arguments)
}

/// The same from any site at any server.
pub fn dig_at(lab: &Lab, from: &str, server: &str, arguments: &str) -> Dig {
    let output = lab
        .net
        .command(from, "dig")
        .args(["-r", &format!("@{server}"), "+time=5", "+tries=1"])
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("dig runs");
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Dig {
    let mut dig = Dig {
        text: text.to_owned(),
        ..Dig::default()
    };
    let mut section = "";
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("status: ") {
            dig.status = rest.split(',').next().unwrap_or("").to_owned();
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            let flags = rest.split(';').next().unwrap_or("");
            dig.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if let Some(rest) = line.strip_prefix("; EDE: ") {
            dig.ede.extend(
                rest.split_whitespace()
                    .next()
                    .and_then(|code| code.parse::<u16>().ok()),
            );
        } else if let Some(rest) = line.strip_prefix(";; ") {
            section = rest.split(' ').next().unwrap_or("");
        } else if !line.is_empty() && !line.starts_with(';') {
            match section {
                "ANSWER" => dig.answer.push(line.to_owned()),
                "AUTHORITY" => dig.authority.push(line.to_owned()),
                _ => {}
            }
        }
    }
    dig
}

/// What delv concludes when it validates, from the root's key, what the resolver hands it.
pub fn delv(lab: &Lab, arguments: &str) -> String {
    let anchor = lab.dir.join("delv.anchor");
    if !anchor.exists() {
        let text = lab.zones.anchor_for_delv().expect("the root has a key");
        std::fs::write(&anchor, text).expect("an anchor file for delv");
    }
    let output = lab
        .net
        .command("client", "delv")
        .arg(format!("@{ADDRESS}"))
        .arg("-a")
        .arg(&anchor)
        .arg("+root=.")
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("delv runs");
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}{said}")
}
