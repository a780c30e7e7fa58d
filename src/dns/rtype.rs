//! Record types, classes and response codes as open sets: a number that has no name is still valid
//! (RFC 3597 section 2), so none of these is an enum.

use std::fmt;
use std::str::FromStr;

macro_rules! open_set {
    ($(#[$doc:meta])* $ty:ident, $fallback:literal, { $($name:ident = $num:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $ty(pub u16);

        #[allow(missing_docs)]
        impl $ty {
            $(pub const $name: $ty = $ty($num);)+

            /// The registered mnemonic, if there is one here.
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($num => Some($text),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.mnemonic() {
                    Some(text) => f.write_str(text),
                    None => write!(f, concat!($fallback, "{}"), self.0),
                }
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $ty {
            type Err = UnknownMnemonic;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let upper = s.to_ascii_uppercase();
                match upper.as_str() {
                    $($text => return Ok($ty($num)),)+
                    _ => {}
                }
                upper
                    .strip_prefix($fallback)
                    .and_then(|n| n.parse().ok())
                    .map($ty)
                    .ok_or(UnknownMnemonic)
            }
        }
    };
}

/// The text is neither a known mnemonic nor of the form `TYPE123`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown mnemonic; write a known one or the numeric form such as TYPE123")]
pub struct UnknownMnemonic;

open_set!(
    /// A record type (RFC 1035 section 3.2.2 and the IANA registry).
    Rtype, "TYPE", {
    A = 1 "A", NS = 2 "NS", MD = 3 "MD", MF = 4 "MF", CNAME = 5 "CNAME", SOA = 6 "SOA", MB = 7 "MB",
    MG = 8 "MG", MR = 9 "MR", NULL = 10 "NULL", WKS = 11 "WKS", PTR = 12 "PTR", HINFO = 13 "HINFO",
    MINFO = 14 "MINFO", MX = 15 "MX", TXT = 16 "TXT", RP = 17 "RP", AFSDB = 18 "AFSDB", X25 = 19 "X25",
    ISDN = 20 "ISDN", RT = 21 "RT", SIG = 24 "SIG", KEY = 25 "KEY", PX = 26 "PX", AAAA = 28 "AAAA",
    LOC = 29 "LOC", NXT = 30 "NXT", SRV = 33 "SRV", NAPTR = 35 "NAPTR", KX = 36 "KX", CERT = 37 "CERT",
    A6 = 38 "A6", DNAME = 39 "DNAME", OPT = 41 "OPT", APL = 42 "APL", DS = 43 "DS", SSHFP = 44 "SSHFP",
    IPSECKEY = 45 "IPSECKEY", RRSIG = 46 "RRSIG", NSEC = 47 "NSEC", DNSKEY = 48 "DNSKEY",
    DHCID = 49 "DHCID", NSEC3 = 50 "NSEC3", NSEC3PARAM = 51 "NSEC3PARAM", TLSA = 52 "TLSA",
    SMIMEA = 53 "SMIMEA", HIP = 55 "HIP", CDS = 59 "CDS", CDNSKEY = 60 "CDNSKEY",
    OPENPGPKEY = 61 "OPENPGPKEY", CSYNC = 62 "CSYNC", ZONEMD = 63 "ZONEMD", SVCB = 64 "SVCB",
    HTTPS = 65 "HTTPS", SPF = 99 "SPF", TKEY = 249 "TKEY", TSIG = 250 "TSIG", IXFR = 251 "IXFR",
    AXFR = 252 "AXFR", MAILB = 253 "MAILB", MAILA = 254 "MAILA", ANY = 255 "ANY", URI = 256 "URI",
    CAA = 257 "CAA", DLV = 32769 "DLV",
});

impl Rtype {
    /// Types that only a question may carry, or that never belong in a zone or a cache
    /// (OPT, TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY; RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        self == Rtype::OPT || (128..=255).contains(&self.0)
    }
}

open_set!(
    /// A class (RFC 1035 section 3.2.4).
    Class, "CLASS", { IN = 1 "IN", CH = 3 "CH", HS = 4 "HS", NONE = 254 "NONE", ANY = 255 "ANY" }
);

open_set!(
    /// A response code, extended by EDNS to 12 bits (RFC 6891 section 6.1.3).
    Rcode, "RCODE", {
    NOERROR = 0 "NOERROR", FORMERR = 1 "FORMERR", SERVFAIL = 2 "SERVFAIL", NXDOMAIN = 3 "NXDOMAIN",
    NOTIMP = 4 "NOTIMP", REFUSED = 5 "REFUSED", YXDOMAIN = 6 "YXDOMAIN", NOTAUTH = 9 "NOTAUTH",
    BADVERS = 16 "BADVERS", BADCOOKIE = 23 "BADCOOKIE",
});

impl Rcode {
    /// Whether this is an answer, not a failure: NOERROR or NXDOMAIN.
    pub fn is_answer(self) -> bool {
        matches!(self, Rcode::NOERROR | Rcode::NXDOMAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back_as_they_print() {
        for n in 0..=u16::MAX {
            let t = Rtype(n);
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!("type65534".parse(), Ok(Rtype(65534)));
        assert_eq!("nonsense".parse::<Rtype>(), Err(UnknownMnemonic));
        assert_eq!("TYPE65536".parse::<Rtype>(), Err(UnknownMnemonic));
    }
}
