//! The two quick parts of the cold-cache bench; `run.py` beside this file starts them and everything else.
//!
//! Why: the kernel may lack netem, and what stands between a resolver and its servers, or counts its answers, must cost much
//! less than the resolver. `relay` gives every server a round trip; `ask` keeps a number of questions outstanding and checks
//! each answer. Both print JSON.
//!
//! Without arguments this says how to run the bench, so that `cargo bench` ends well.

#![allow(clippy::disallowed_methods)]

mod ask;
#[path = "../shared/relay.rs"]
mod relay;
#[path = "../shared/sockets.rs"]
mod sockets;

use std::process::ExitCode;

const USAGE: &str = "\
cold_cache: run by benches/cold_cache/run.py (benches/README.md says how).
  cold_cache relay RTT_MS BACKEND_PORT ADDRESS...   delay what comes to ADDRESS:53 on its way to ADDRESS:BACKEND_PORT
  cold_cache ask ADDRESS WINDOW FILE                ask ADDRESS:53 the questions of FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["relay", rtt_ms, port, ref servers @ ..] => relay::run(rtt_ms, "0", port, servers),
        ["ask", server, window, file] => ask::run(server, window, file),
        _ => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cold_cache {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}
