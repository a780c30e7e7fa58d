//! DNS cookies towards clients (RFC 7873), in the interoperable form of RFC 9018.
//!
//! Why: a UDP query may have a forged sender. Who sends back a cookie that this server made for his address has
//! received an answer there before, so he is who he says. Everybody who sends a client cookie is given a server cookie with
//! the answer; nobody is refused for the lack of one.
//!
//! Model: a server cookie is `version, reserved, time, hash`; the hash is SipHash-2-4 over the client cookie, these fields
//! and the client's address. Nothing is stored per client. The secret of the hash follows from the master
//! secret, which is random at each start, and from the period that the cookie's own time lies in: so it rolls by itself, and
//! cookies of the period before stay good for as long as their time allows (RFC 9018 section 5).
//!
//! Failure: an option of impossible length is FORMERR (RFC 7873 section 5.2.2). A cookie that is foreign, old or wrong
//! is replaced by a good one; it is counted.

use std::net::IpAddr;

/// Octets of a client cookie.
const CLIENT_LEN: usize = 8;
/// Octets of a server cookie that this server makes, and of the least and most that others may make (RFC 7873 section 4).
const SERVER_LEN: usize = 16;
/// Its version, reserved octets and time, before the hash.
const FIELDS_LEN: usize = 8;
const SERVER_LEN_MIN: usize = 8;
const SERVER_LEN_MAX: usize = 32;
/// Octets of the option that every answer to a client with cookies has.
pub const OPTION_LEN: usize = CLIENT_LEN + SERVER_LEN;
/// RFC 9018 section 4.1.
const VERSION: u8 = 1;
/// RFC 9018 section 4.3: a cookie is good for so long, and so far ahead of our clock, in seconds.
const AGE_MAX_S: u32 = 3600;
const AHEAD_MAX_S: u32 = 300;
/// RFC 9018 section 4.3: an older one is replaced by a new one while it is still good, in seconds.
const RENEW_AFTER_S: u32 = 1800;
/// How long one secret makes cookies, in seconds.
const PERIOD_S: u32 = 86_400;

/// A 128-bit key of SipHash.
type Secret = [u8; 16];

/// Makes and checks server cookies.
#[derive(Clone)]
pub struct Cookies {
    master: Secret,
}

/// What a client's COOKIE option is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It holds a client cookie only.
    New,
    /// This server made the server cookie for this client, not long ago.
    Good,
    /// The server cookie is of another server, too old, or forged.
    Bad,
}

/// The option has an impossible length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Cookies {
    /// Cookies of this random secret.
    pub fn new(master: [u8; 16]) -> Cookies {
        Cookies { master }
    }

    /// Reads the COOKIE option of a query; returns the one of its answer, and what the query's was worth.
    ///
    /// # Errors
    /// The query deserves FORMERR.
    pub fn exchange(
        &self,
        option: &[u8],
        client: IpAddr,
        wall_s: u64,
    ) -> Result<([u8; OPTION_LEN], Standing), Malformed> {
        let (client_cookie, server_cookie) =
            option.split_first_chunk::<CLIENT_LEN>().ok_or(Malformed)?;
        if !matches!(server_cookie.len(), 0 | SERVER_LEN_MIN..=SERVER_LEN_MAX) {
            return Err(Malformed);
        }
        // RFC 9018 section 4.3: the field holds the low 32 bits, in serial number arithmetic.
        let now_s = wall_s as u32;
        let standing = match <&[u8; SERVER_LEN]>::try_from(server_cookie) {
            _ if server_cookie.is_empty() => Standing::New,
            Ok(cookie) if self.is_good(client_cookie, cookie, client, now_s) => Standing::Good,
            _ => Standing::Bad,
        };
        let young = |cookie: &[u8]| age_s(cookie, now_s) <= i64::from(RENEW_AFTER_S);
        let mut answer = [0; OPTION_LEN];
        let (for_client, of_server) = answer.split_at_mut(CLIENT_LEN);
        for_client.copy_from_slice(client_cookie);
        match standing {
            Standing::Good if young(server_cookie) => of_server.copy_from_slice(server_cookie),
            _ => of_server.copy_from_slice(&self.made(client_cookie, client, now_s)),
        }
        Ok((answer, standing))
    }

    fn is_good(
        &self,
        client_cookie: &[u8; CLIENT_LEN],
        cookie: &[u8; SERVER_LEN],
        client: IpAddr,
        now_s: u32,
    ) -> bool {
        let Some((fields, hash)) = cookie.split_first_chunk::<FIELDS_LEN>() else {
            return false;
        };
        let age_s = age_s(cookie, now_s);
        let in_time = (-i64::from(AHEAD_MAX_S)..=i64::from(AGE_MAX_S)).contains(&age_s);
        let expected = digest(&self.secret(time_s(cookie)), client_cookie, fields, client);
        // The version is under the hash, and this server makes but one.
        in_time && same(hash, &expected)
    }

    /// A new server cookie.
    fn made(
        &self,
        client_cookie: &[u8; CLIENT_LEN],
        client: IpAddr,
        now_s: u32,
    ) -> [u8; SERVER_LEN] {
        let mut cookie = [0; SERVER_LEN];
        cookie[0] = VERSION;
        cookie[4..8].copy_from_slice(&now_s.to_be_bytes());
        let (fields, of_hash) = cookie.split_at_mut(FIELDS_LEN);
        let mut hashed = [0; FIELDS_LEN];
        hashed.copy_from_slice(fields);
        of_hash.copy_from_slice(&digest(&self.secret(now_s), client_cookie, &hashed, client));
        cookie
    }

    /// The secret of the period that a time lies in.
    fn secret(&self, time_s: u32) -> Secret {
        let period = (time_s / PERIOD_S).to_be_bytes();
        let half = |half: u8| {
            let [a, b, c, d] = period;
            siphash(&self.master, &[half, a, b, c, d]).to_le_bytes()
        };
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&half(0));
        secret[8..].copy_from_slice(&half(1));
        secret
    }
}

fn time_s(cookie: &[u8]) -> u32 {
    u32::from_be_bytes([cookie[4], cookie[5], cookie[6], cookie[7]])
}

/// How old a cookie is, in seconds; negative if it comes from the future (RFC 1982).
fn age_s(cookie: &[u8], now_s: u32) -> i64 {
    i64::from(now_s.wrapping_sub(time_s(cookie)) as i32)
}

/// RFC 9018 section 4.4: `Client Cookie | Version | Reserved | Timestamp | Client-IP`.
fn digest(
    secret: &Secret,
    client_cookie: &[u8; CLIENT_LEN],
    fields: &[u8; FIELDS_LEN],
    client: IpAddr,
) -> [u8; 8] {
    let mut input = [0; CLIENT_LEN + FIELDS_LEN + 16];
    input[..CLIENT_LEN].copy_from_slice(client_cookie);
    let (_, rest) = input.split_at_mut(CLIENT_LEN);
    let (of_cookie, of_client) = rest.split_at_mut(FIELDS_LEN);
    of_cookie.copy_from_slice(fields);
    let address_len = match client.to_canonical() {
        IpAddr::V4(address) => {
            of_client[..4].copy_from_slice(&address.octets());
            4
        }
        IpAddr::V6(address) => {
            of_client.copy_from_slice(&address.octets());
            16
        }
    };
    let len = CLIENT_LEN + FIELDS_LEN + address_len;
    siphash(secret, &input[..len]).to_le_bytes()
}

/// Compares in a time that does not tell where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y)) == 0
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012).
pub(super) fn siphash(key: &Secret, input: &[u8]) -> u64 {
    let word = |octets: &[u8]| {
        let mut padded = [0; 8];
        padded[..octets.len()].copy_from_slice(octets);
        u64::from_le_bytes(padded)
    };
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut blocks = input.chunks_exact(8);
    for block in &mut blocks {
        absorb(&mut v, word(block));
    }
    // The last word holds what is left, and the length in its highest octet.
    absorb(
        &mut v,
        word(blocks.remainder()) | (input.len() as u64) << 56,
    );
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    round(v);
    round(v);
    v[0] ^= word;
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_559_731_985;

    fn hex(text: &str) -> Vec<u8> {
        let digits = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digits).collect()
    }

    fn secret(text: &str) -> Secret {
        hex(text).try_into().unwrap()
    }

    // Appendix A of the SipHash paper: key 00..0f, input 00..0e.
    #[test]
    fn siphash_is_that_of_the_paper() {
        let key: Secret = std::array::from_fn(|i| i as u8);
        let input: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(&key, &input), 0xa129_ca61_49be_45e5);
    }

    // RFC 9018 appendices A.1 to A.4; the last two of A.3 and A.4 are the requests' cookies.
    #[test]
    fn hashes_are_those_of_the_rfc() {
        let first = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        let v6 = "2001:db8:220:1:59de:d0f4:8769:82b8";
        for (key, client, cookie) in [
            (
                first,
                "198.51.100.100",
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            ),
            (
                first,
                "198.51.100.100",
                "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
            ),
            (
                first,
                "203.0.113.203",
                "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
            ),
            (
                first,
                "203.0.113.203",
                "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
            ),
            (
                "dd3bdf9344b678b185a6f5cb60fca715",
                v6,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            ),
            (
                "445536bcd2513298075a5d379663c962",
                v6,
                "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let cookie = hex(cookie);
            let client_cookie = cookie.first_chunk().unwrap();
            let made = digest(
                &secret(key),
                client_cookie,
                cookie[8..16].first_chunk().unwrap(),
                client.parse().unwrap(),
            );
            assert_eq!(made, cookie[16..]);
        }
    }

    fn cookies() -> Cookies {
        Cookies::new(secret("e5e973e5a6b2a43f48e7dc849e37bfcf"))
    }

    fn client() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    // RFC 7873 section 5.2.2.
    #[test]
    fn impossible_lengths_are_malformed() {
        for len in 0..60 {
            let found = cookies().exchange(&vec![7; len], client(), NOW_S);
            let possible = len == 8 || (16..=40).contains(&len);
            assert_eq!(found.is_ok(), possible, "{len}");
        }
    }

    // RFC 9018 section 4.3, RFC 7873 sections 5.2.3 to 5.2.5.
    #[test]
    fn cookies_are_good_for_an_hour_and_renewed_after_half_of_it() {
        let cookies = cookies();
        let (first, standing) = cookies.exchange(&[9; 8], client(), NOW_S).unwrap();
        assert_eq!((first.len(), standing), (24, Standing::New));
        for (after_s, expected, renewed) in [
            (0, Standing::Good, false),
            (-300, Standing::Good, false),
            (-301, Standing::Bad, true),
            (1800, Standing::Good, false),
            (1801, Standing::Good, true),
            (3600, Standing::Good, true),
            (3601, Standing::Bad, true),
            (1 << 31, Standing::Bad, true),
        ] {
            let at_s = NOW_S.checked_add_signed(after_s).unwrap();
            let (next, standing) = cookies.exchange(&first, client(), at_s).unwrap();
            assert_eq!((standing, next != first), (expected, renewed), "{after_s}");
            assert_eq!(next[..8], [9; 8]);
            let (_, again) = cookies.exchange(&next, client(), at_s).unwrap();
            // One from our future is still good and kept.
            assert_eq!(again, Standing::Good, "{after_s}");
        }
    }

    #[test]
    fn foreign_and_changed_cookies_are_replaced() {
        let cookies = cookies();
        let (good, _) = cookies.exchange(&[9; 8], client(), NOW_S).unwrap();
        let standing = |option: &[u8], client: &str| {
            let client = client.parse().unwrap();
            let (answer, standing) = cookies.exchange(option, client, NOW_S).unwrap();
            assert_eq!(answer.len(), 24);
            standing
        };
        assert_eq!(standing(&good, "192.0.2.1"), Standing::Good);
        assert_eq!(standing(&good, "::ffff:192.0.2.1"), Standing::Good);
        assert_eq!(standing(&good, "192.0.2.2"), Standing::Bad);
        for at in 0..good.len() {
            let mut changed = good;
            changed[at] ^= 1;
            assert_eq!(standing(&changed, "192.0.2.1"), Standing::Bad, "{at}");
        }
        assert_eq!(standing(&[7; 40], "192.0.2.1"), Standing::Bad);
        let other = Cookies::new([0; 16]);
        let (_, of_another) = other.exchange(&good, client(), NOW_S).unwrap();
        assert_eq!(of_another, Standing::Bad);
    }

    // RFC 9018 section 5: what the secret before made stays good.
    #[test]
    fn secrets_roll_and_the_one_before_is_accepted() {
        let cookies = cookies();
        let end_s = (NOW_S / u64::from(PERIOD_S) + 1) * u64::from(PERIOD_S);
        let (before, _) = cookies.exchange(&[9; 8], client(), end_s - 1).unwrap();
        let (_, standing) = cookies.exchange(&before, client(), end_s + 1).unwrap();
        assert_eq!(standing, Standing::Good);
        let at = |s: u64| cookies.secret(s as u32);
        assert_ne!(at(end_s - 1), at(end_s));
        assert_eq!(at(NOW_S), at(end_s - 1));
    }
}
