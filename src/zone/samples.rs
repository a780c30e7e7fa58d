//! Names and records that the tests of building and updating are made of.

use crate::dns::{Class, Name, Record, Rtype};

pub fn name(s: &str) -> Name {
    s.parse().unwrap()
}

pub fn record(owner: &str, rtype: Rtype, rdata: &[u8]) -> Record {
    Record {
        name: name(owner),
        rtype,
        class: Class::IN,
        ttl: 300,
        rdata: rdata.into(),
    }
}

/// The SOA record of `example.`
pub fn soa(serial: u8) -> Record {
    let mut data = b"\x02ns\x00\x00".to_vec();
    data.extend([0, 0, 0, serial]);
    data.extend([0; 16]);
    record("example.", Rtype::SOA, &data)
}
