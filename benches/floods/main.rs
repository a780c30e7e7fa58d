//! The quick parts of the flood laboratory; `run.py` beside this file starts them and everything else.
//!
//! Why: an attacker that cannot keep a server busy shows nothing. `udp` asks from forged senders, as many as the machine can send; `streams`
//! opens connections and does with them what it should not; `trap` is the server of a zone that makes resolvers hammer others; `relay` puts a
//! round trip in front of a server, and makes it weak if wanted. Each prints JSON.
//!
//! Everything is bounded in time and in number, and sends nowhere but to the address it is given.
//!
//! Without arguments this says how to run the laboratory, so that `cargo bench` ends well.

#![allow(clippy::disallowed_methods)]

mod random;
#[path = "../shared/relay.rs"]
mod relay;
#[path = "../shared/sockets.rs"]
mod sockets;
mod streams;
mod trap;
mod udp;

use std::process::ExitCode;

const USAGE: &str = "\
floods: run by benches/floods/run.py (benches/README.md says how).
  floods udp SERVER SECONDS PER_S SEED NAME TYPE LEN_MAX SENDERS...    ask SERVER:53, PER_S times a second (0: as often as can be); a label % is random
  floods streams SERVER PORT SECONDS PER_S SEED OPEN_MAX KINDS SENDERS...  open connections; KINDS, separated by commas: idle, slow, ask, hello
  floods trap ADDRESS ZONE COUNT VICTIM                                   refer each name below ZONE to COUNT servers named below VICTIM
  floods relay RTT_MS PER_S BACKEND_PORT ADDRESS...                       delay what comes to ADDRESS:53 on its way to ADDRESS:BACKEND_PORT";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["udp", ref rest @ ..] => udp::run(rest),
        ["streams", ref rest @ ..] => streams::run(rest),
        ["trap", address, zone, count, victim] => trap::run(address, zone, count, victim),
        ["relay", rtt_ms, per_s, port, ref servers @ ..] => {
            relay::run(rtt_ms, per_s, port, servers)
        }
        _ => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floods {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
