//! The operator's way into a running server: a unix socket that answers requests in JSON lines.
//!
//! [`api`] is the server's side, [`client`] the side of `holdfast status` and its siblings, [`status`] what
//! they talk about most, [`trace`] what they say about one question. Whoever may open the socket (mode 0600) may do everything that it offers.

pub mod api;
pub mod client;
pub mod status;
pub mod table;
pub mod trace;
