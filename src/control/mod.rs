//! The operator's way into a running server: a unix socket that answers requests in JSON lines.
//!
//! [`http`] shows, read-only, what `control.http` is asked for: the status page, metrics, health; [`history`] is what its curves draw.
//!
//! [`api`] is the server's side, [`client`] the side of `holdfast status` and its siblings, [`status`] what
//! they talk about most, [`trace`] what they say about one question. Whoever may open the socket (mode 0600) may do everything that it offers.

pub mod api;
pub mod client;
mod door;
pub mod history;
pub mod http;
pub mod status;
pub mod table;
pub mod trace;
