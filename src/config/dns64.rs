//! `[dns64]`: where made addresses lie, for whom they are, and which ones are not to be used.

use ipnet::{IpNet, Ipv6Net};

use super::file::prefixes;
use super::reader::{Item, Table};
use super::{Dns64, scalar};

/// RFC 6052 section 2.2.
const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
const ALLOWED: &str = "\"64:ff9b::/96\", a /32, /40, /48, /56, /64 or /96 of IPv6 with bits 64 to 71 zero, or \"\" for none";

pub(super) fn dns64(mut t: Table<'_, '_>) -> Dns64 {
    let default = Dns64::default();
    let config = Dns64 {
        prefix: t.read("prefix", default.prefix, prefix),
        clients: t.read("clients", default.clients, prefixes),
        exclude: t.read("exclude", default.exclude, |item| {
            item.list("prefixes such as \"2001:db8::/32\"", six)
        }),
    };
    t.finish();
    config
}

fn prefix(item: &Item<'_, '_>) -> Option<Option<Ipv6Net>> {
    if item.text(ALLOWED)?.is_empty() {
        return Some(None);
    }
    let net = six(item)?;
    // The octet that stands between the parts of an address.
    let skipped = net.network().octets()[8];
    match LENGTHS.contains(&net.prefix_len()) && skipped == 0 {
        true => Some(Some(net)),
        false => item.refuse(ALLOWED),
    }
}

fn six(item: &Item<'_, '_>) -> Option<Ipv6Net> {
    match scalar::prefix(item)? {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => item.refuse("a prefix of IPv6"),
    }
}
