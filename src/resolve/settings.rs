//! What resolution is told by the configuration, in the form that it uses.

use std::net::IpAddr;
use std::time::Duration;

use crate::cache::entry::TtlLimits;
use crate::config::{Anchors, Config, DnssecMode, Sha1};
use crate::dns::{Class, Name, Rdata, Record, Rtype};
use crate::resolve::forward::{Forward, Forwards};
use crate::resolve::retained;
use crate::resolve::stale;
use crate::resolve::validate::{self, Validator};

/// The port of every name server (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// Settings of the resolver, fixed for its life.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names and addresses of the root's servers, to start from.
    pub root_hints: Vec<(Name, Vec<IpAddr>)>,
    /// Zones whose questions go to other resolvers.
    pub forwards: Forwards,
    /// Replace the hints by the root's own list (RFC 9609).
    pub prime: bool,
    /// Show servers no more of a name than they need (RFC 9156).
    pub qname_minimisation: bool,
    /// Mix the case of names in questions.
    pub case_randomisation: bool,
    /// Send cookies, and hold servers to theirs (RFC 7873).
    pub cookies: bool,
    /// Use glue only within the zone of the server that sent it.
    pub harden_glue: bool,
    /// Ask servers on loopback and other special addresses.
    pub query_loopback: bool,
    /// Advertised UDP payload size, octets.
    pub edns_buffer: u16,
    /// Use IPv4.
    pub ipv4: bool,
    /// Use IPv6.
    pub ipv6: bool,
    /// Bounds of the hedge delay.
    pub hedge_min: Duration,
    /// Upper bound of the hedge delay.
    pub hedge_max: Duration,
    /// TTL floor and ceiling of the cache.
    pub ttl: TtlLimits,
    /// Bytes that the answer cache may hold.
    pub cache_bytes_max: u64,
    /// Log each question that comes to nothing, with the reason.
    pub log_servfail: bool,
    /// Fetch popular answers anew before they run out.
    pub prefetch: bool,
    /// Delegations kept past their TTL.
    pub retained: retained::Settings,
    /// Data past its TTL (RFC 8767).
    pub stale: stale::Settings,
    /// Questions that may wait for the servers of one zone; 0 for no such limit.
    pub upstream_per_zone_max: usize,
    /// Questions that may be outstanding at one server address; 0 for no such limit.
    pub upstream_per_server_max: usize,
    /// What the servers of one zone may deny per second before no more of its names are looked for; 0 for no such limit.
    pub denials_per_zone_s: u32,
    /// Port of the servers; other than 53 only in tests.
    pub port: u16,
    /// Seed of the random choices among servers.
    pub seed: u64,
}

impl Default for Settings {
    /// The configuration's defaults, without hints.
    fn default() -> Settings {
        Settings {
            root_hints: Vec::new(),
            forwards: Forwards::default(),
            prime: true,
            qname_minimisation: true,
            case_randomisation: true,
            cookies: true,
            harden_glue: true,
            query_loopback: false,
            edns_buffer: 1232,
            ipv4: true,
            ipv6: true,
            hedge_min: Duration::from_millis(20),
            hedge_max: Duration::from_millis(400),
            ttl: TtlLimits {
                min_s: 0,
                max_s: 86_400,
            },
            cache_bytes_max: 256 << 20,
            log_servfail: false,
            prefetch: true,
            retained: retained::Settings::default(),
            stale: stale::Settings::default(),
            upstream_per_zone_max: 200,
            upstream_per_server_max: 2000,
            denials_per_zone_s: 0,
            port: DNS_PORT,
            seed: 0,
        }
    }
}

impl Settings {
    /// The settings that a configuration asks for. `seed` decides the random choices among servers.
    pub fn from_config(config: &Config, seed: u64) -> Settings {
        let resolver = &config.resolver;
        Settings {
            root_hints: resolver.hints.servers.clone(),
            forwards: config.forwards.iter().map(Forward::from).collect(),
            prime: resolver.prime,
            qname_minimisation: resolver.qname_minimisation,
            case_randomisation: resolver.case_randomisation,
            cookies: resolver.cookies,
            harden_glue: resolver.harden_glue,
            query_loopback: resolver.query_loopback,
            edns_buffer: resolver.edns_buffer,
            ipv4: resolver.ipv4,
            ipv6: resolver.ipv6,
            hedge_min: Duration::from_millis(resolver.hedge_min_ms),
            hedge_max: Duration::from_millis(resolver.hedge_max_ms),
            ttl: TtlLimits {
                min_s: config.cache.ttl_min_s,
                max_s: config.cache.ttl_max_s,
            },
            cache_bytes_max: config.cache.bytes_max - config.cache.ready_bytes_max(),
            log_servfail: config.log.servfail,
            prefetch: resolver.prefetch,
            retained: retained::Settings {
                enabled: config.retained.enabled,
                age_max_s: config.retained.age_max_s,
                entries_max: usize::try_from(config.retained.entries_max).unwrap_or(usize::MAX),
            },
            stale: stale::Settings {
                enabled: config.stale.enabled && config.stale.age_max_s > 0,
                answer_after: Duration::from_millis(config.stale.answer_after_ms),
                age_max_s: config.stale.age_max_s,
                entries_max: usize::try_from(config.stale.entries_max).unwrap_or(usize::MAX),
                bytes_max: usize::try_from(config.stale.bytes_max).unwrap_or(usize::MAX),
            },
            upstream_per_zone_max: config.limits.upstream_per_zone_max as usize,
            upstream_per_server_max: config.limits.upstream_per_server_max as usize,
            denials_per_zone_s: config.limits.denials_per_zone_s,
            port: DNS_PORT,
            seed,
        }
    }

    /// The validator that a configuration asks for; none with `dnssec = "off"`.
    pub fn validator_from_config(config: &Config) -> Option<Validator> {
        let resolver = &config.resolver;
        if resolver.dnssec == DnssecMode::Off {
            return None;
        }
        Some(Validator::new(validate::Settings {
            anchors: anchor_records(&resolver.anchors),
            negative_trust_anchors: resolver.negative_trust_anchors.clone(),
            sha1: resolver.sha1 == Sha1::Validate,
            aggressive_nsec: resolver.aggressive_nsec,
            ..validate::Settings::default()
        }))
    }

    /// Whether a name server at this address may be asked.
    pub fn may_ask(&self, address: IpAddr) -> bool {
        let family = match address {
            IpAddr::V4(_) => self.ipv4,
            IpAddr::V6(_) => self.ipv6,
        };
        family && (self.query_loopback || is_ordinary(address))
    }
}

/// Trust anchors as the records that the validator takes.
pub(super) fn anchor_records(anchors: &Anchors) -> Vec<Record> {
    let mut records = Vec::new();
    for anchor in &anchors.zones {
        let record = |rtype, rdata: &Rdata| Record {
            name: anchor.owner.clone(),
            rtype,
            class: Class::IN,
            ttl: 0,
            rdata: rdata.clone(),
        };
        records.extend(anchor.ds.iter().map(|r| record(Rtype::DS, r)));
        records.extend(anchor.dnskeys.iter().map(|r| record(Rtype::DNSKEY, r)));
    }
    records
}

/// Whether packets to the address may leave this machine towards a name server that a stranger
/// named: not loopback, unspecified, multicast, broadcast or link-local. Private addresses are ordinary:
/// networks have name servers there.
fn is_ordinary(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            !(a.is_loopback()
                || a.octets()[0] == 0
                || a.is_multicast()
                || a.octets()[0] >= 240
                || a.is_link_local())
        }
        IpAddr::V6(a) => match a.to_ipv4_mapped() {
            Some(_) => false,
            None => {
                !(a.is_loopback()
                    || a.is_unspecified()
                    || a.is_multicast()
                    || a.is_unicast_link_local())
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_can_be_switched_off_and_is_on_by_default() {
        let mut config = Config::default();
        assert!(Settings::validator_from_config(&config).is_some());
        config.resolver.dnssec = DnssecMode::Off;
        assert!(Settings::validator_from_config(&config).is_none());
    }

    #[test]
    fn special_addresses_are_not_asked_unless_allowed() {
        let strict = Settings::default();
        let lab = Settings {
            query_loopback: true,
            ipv6: false,
            ..Settings::default()
        };
        for (address, by_default, in_lab) in [
            ("192.0.2.1", true, true),
            ("10.0.0.1", true, true),
            ("127.0.0.2", false, true),
            ("0.0.0.0", false, true),
            ("255.255.255.255", false, true),
            ("169.254.1.1", false, true),
            ("2001:db8::1", true, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("fe80::1", false, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(strict.may_ask(address), by_default, "{address}");
            assert_eq!(lab.may_ask(address), in_lab, "{address}");
        }
    }
}
