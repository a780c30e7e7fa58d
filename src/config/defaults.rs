//! What absent keys mean. `config.toml` shows the same values, and a test holds it to these.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Access, Alerts, Anchors, Cache, Config, Control, Dns64, DnssecMode, Dnstap, Hints, Lab, Limits,
    Log, LogFormat, LogLevel, Names, Reachability, Resolver, Retained, Server, Sha1, Stale,
    UDP_SIZE_DEFAULT_BYTES,
};

impl Default for Config {
    /// What an empty file means, relative to the working directory.
    fn default() -> Config {
        Config {
            server: Server::default(),
            access: Access::default(),
            resolver: Resolver::default(),
            forwards: Vec::new(),
            dns64: Dns64::default(),
            cache: Cache::default(),
            stale: Stale::default(),
            retained: Retained::default(),
            mirrors: Vec::new(),
            zones: Vec::new(),
            tsig_keys: Vec::new(),
            catalogs: Vec::new(),
            reachability: Reachability::default(),
            names: Names::default(),
            alerts: Alerts::default(),
            limits: Limits::default(),
            control: Control::default(),
            log: Log::default(),
            dnstap: Dnstap::default(),
            lab: Lab::default(),
            base_dir: PathBuf::from("."),
            warnings: Vec::new(),
        }
    }
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: vec![
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300),
                SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 5300),
            ],
            data_dir: PathBuf::from("data"),
            workers: 0,
            udp_size_max: UDP_SIZE_DEFAULT_BYTES,
            cookies: true,
            chaos: vec!["version.bind", "id.server", "status.holdfast"],
            identity: String::new(),
            nsid: true,
            proxy_from: Vec::new(),
            xdp: Vec::new(),
            tls: None,
        }
    }
}

impl Default for Access {
    fn default() -> Access {
        let net = |address: IpAddr, length: u8| {
            IpNet::new(address, length).expect("a length within the address")
        };
        Access {
            allow: vec![
                net(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
                net(Ipv6Addr::LOCALHOST.into(), 128),
            ],
            allow_own_zones: vec![
                net(Ipv4Addr::UNSPECIFIED.into(), 0),
                net(Ipv6Addr::UNSPECIFIED.into(), 0),
            ],
            allow_transfer: Vec::new(),
            allow_notify: Vec::new(),
        }
    }
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver {
            hints: Hints::compiled_in(),
            anchors: Anchors::compiled_in(),
            dnssec: DnssecMode::Validate,
            sha1: Sha1::Insecure,
            negative_trust_anchors: Vec::new(),
            trust_anchor_updates: true,
            qname_minimisation: true,
            case_randomisation: true,
            cookies: true,
            prime: true,
            prefetch: true,
            harden_glue: true,
            aggressive_nsec: true,
            special_use_zones: true,
            query_loopback: false,
            edns_buffer: UDP_SIZE_DEFAULT_BYTES,
            outgoing: Vec::new(),
            ipv4: true,
            ipv6: true,
            hedge_min_ms: 20,
            hedge_max_ms: 400,
        }
    }
}

impl Default for Dns64 {
    fn default() -> Dns64 {
        let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        let net = |net: Result<IpNet, _>| net.expect("a length within the address");
        Dns64 {
            prefix: None,
            clients: vec![
                net(IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0)),
                net(IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0)),
            ],
            exclude: vec![Ipv6Net::new(mapped, 96).expect("a length within the address")],
        }
    }
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            bytes_max: 256 << 20,
            ttl_min_s: 0,
            ttl_max_s: 86_400,
            persist: true,
        }
    }
}

impl Default for Stale {
    fn default() -> Stale {
        Stale {
            enabled: true,
            answer_after_ms: 1800,
            age_max_s: 3 * 86_400,
            entries_max: 100_000,
            bytes_max: 64 << 20,
        }
    }
}

impl Default for Retained {
    fn default() -> Retained {
        Retained {
            enabled: true,
            age_max_s: 90 * 86_400,
            entries_max: 100_000,
        }
    }
}

impl Default for Reachability {
    fn default() -> Reachability {
        Reachability {
            probe: true,
            domestic: Default::default(),
            sets: Default::default(),
        }
    }
}

impl Default for Names {
    fn default() -> Names {
        Names {
            enabled: true,
            entries_max: 20_000,
        }
    }
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            webhook: None,
            ca: None,
            command: Vec::new(),
            interval_s: 60,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            exempt: Vec::new(),
            queries_per_prefix_s: 0,
            responses_per_s: 0,
            window_s: 15,
            slip: 2,
            upstream_per_zone_max: 200,
            upstream_per_server_max: 2000,
            denials_per_zone_s: 0,
            tcp_connections_max: 4096,
            tcp_connections_per_prefix_max: 256,
        }
    }
}

impl Default for Control {
    fn default() -> Control {
        Control {
            socket: PathBuf::from("data/control.sock"),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 8053))),
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: LogLevel::Info,
            format: LogFormat::Text,
            servfail: false,
            queries: None,
            queries_bytes_max: 64 << 20,
        }
    }
}

impl Default for Dnstap {
    fn default() -> Dnstap {
        Dnstap {
            socket: None,
            identity: String::new(),
            version: String::new(),
            client: true,
            resolver: false,
        }
    }
}
