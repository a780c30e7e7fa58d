//! One entry of `access.allow_transfer` and `access.allow_notify`.
//!
//! A text is an address, a prefix, or a key; the table form joins demands, all of which must be met.

use super::reader::{Item, Table};
use super::scalar::{self, host, name, parse_name, prefix_or};
use super::{Config, Peer};
use crate::tls;

/// `"192.0.2.0/24"`, `"tsig:hub-key."`, or `{ address = "192.0.2.0/24", tsig = "hub-key.", tls = true, tls_name = "sec.example" }`.
pub(super) fn peer(item: &Item<'_, '_>) -> Option<Peer> {
    if item.as_table().is_some() {
        return table(item);
    }
    let key = (item.value().as_str()).and_then(|text| text.strip_prefix("tsig:"));
    match key {
        Some(key) => match parse_name(key) {
            Some(name) => Some(Peer::tsig(name)),
            None => item.refuse("a prefix, an address, or \"tsig:NAME\""),
        },
        None => {
            let allowed =
                "one address, \"tsig:NAME\", or { address = \"192.0.2.0/24\", tls = true }";
            prefix_or(item, allowed).map(Peer::net)
        }
    }
}

fn table(item: &Item<'_, '_>) -> Option<Peer> {
    let mut table = item.as_table()?;
    let net = table.item("address").map(|item| scalar::prefix(&item));
    let tsig = table.item("tsig").map(|item| name(&item));
    let tls_name = table.item("tls_name").map(|item| {
        let text = host(&item)?;
        tls::name(&text).or_else(|| item.refuse("the host name in the client's certificate"))
    });
    let tls = table.read("tls", tls_name.is_some(), Item::flag);
    let said = net.is_some() || tsig.is_some() || tls_name.is_some();
    if tls_name.is_some() && !tls {
        table.fault_at(&["tls"], "tls_name is of no use with tls = false");
    }
    if !said {
        table.fault("who is meant? allowed is at least one of `address`, `tsig` and `tls_name`");
    }
    table.finish();
    // What is written and wrong must not become "not written": it would let more in.
    let demand = |written: bool, right: bool| !written || right;
    let (is_net, is_tsig, is_name) = (net.is_some(), tsig.is_some(), tls_name.is_some());
    let peer = Peer {
        net: net.flatten(),
        tsig: tsig.flatten(),
        tls,
        tls_name: tls_name.flatten(),
    };
    let right = demand(is_net, peer.net.is_some())
        && demand(is_tsig, peer.tsig.is_some())
        && demand(is_name, peer.tls_name.is_some());
    (said && right).then_some(peer)
}

/// What entries demand of TLS must be possible.
pub(super) fn check_tls(root: &mut Table<'_, '_>, config: &Config) {
    let access = &config.access;
    let lists = [&access.allow_transfer, &access.allow_notify];
    let mut peers = lists.into_iter().flatten();
    let server = config.server.tls.as_ref();
    let listens = server.is_some_and(|tls| !tls.dot.is_empty());
    let asks = server.is_some_and(|tls| tls.client_ca.is_some());
    let message = match (listens, asks) {
        (true, true) => return,
        (false, _) if peers.any(|peer| peer.tls) => {
            "allow_transfer or allow_notify has an entry with tls, which nobody can meet; add [server.tls] with dot"
        }
        (true, false) if peers.any(|peer| peer.tls_name.is_some()) => {
            "allow_transfer or allow_notify has a tls_name, and no client is asked for a certificate; name client_ca in [server.tls]"
        }
        _ => return,
    };
    root.fault_at(&["access"], message);
}
