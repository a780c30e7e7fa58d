//! The two quick parts of the wire-speed bench; `run.py` beside this file starts them and everything else.
//!
//! Why: a server that answers half a million questions a second on one core cannot be measured by a client that is slower, and
//! how good it is shows only beside what the kernel allows. `load` asks faster than any server answers: many ports, many questions per system
//! call and per walk through the kernel (UDP_SEGMENT). `echo` is that limit: the listener's system calls, answers of the same size, no DNS.
//!
//! Without arguments this says how to run the bench, so that `cargo bench` ends well.

#![allow(clippy::disallowed_methods)]

mod echo;
mod load;
mod questions;
mod sockets;
mod tally;
#[cfg(feature = "xdp")]
mod xdp;

use std::process::ExitCode;

const USAGE: &str = "\
wire: run by benches/wire/run.py (benches/README.md says how).
  wire echo ADDRESS:PORT SIZE [threads=1] [batch=32]   answer every datagram with SIZE octets
  wire xdp INTERFACE PORT SIZE [mode=native|generic]   the same by AF_XDP, with the feature xdp; its first line is `copy` or `zero-copy`
  wire load ADDRESS:PORT FILE [seconds=3] [count=N] [window=1024] [rate=Q] [ports=64] [burst=16] [seed=1] [patience=1] [report=S] [each] [any]
            ask the questions of FILE: `window` of them outstanding, or `rate` per second; for `seconds` or `count` of
            them; no answer in `patience` seconds is none; `each` asks every line once, `any` takes any answer with the right number for a right one; with `rate` it says
            how things stand every `report` seconds";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["echo", at, size, ref options @ ..] => echo::run(at, size, options),
        #[cfg(feature = "xdp")]
        ["xdp", interface, port, size, ref options @ ..] => {
            xdp::run(interface, port, size, options)
        }
        ["load", server, file, ref options @ ..] => load::run(server, file, options),
        _ => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wire {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// The value of `key=VALUE` among the options, or what it is without.
fn option<T: std::str::FromStr>(options: &[&str], key: &str, default: T) -> std::io::Result<T> {
    let given = options
        .iter()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    match given {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| std::io::Error::other(format!("{key}={text} is no such number"))),
    }
}
