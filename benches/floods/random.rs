//! Chance from a seed, and senders drawn with it.

use std::error::Error;
use std::net::Ipv4Addr;

/// xorshift64* (Marsaglia; Vigna): quick, and good enough for labels and ports.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}

/// Prefixes that queries come from.
pub struct Senders(Vec<(u32, u32)>);

impl Senders {
    /// Of the form 192.0.2.0/24.
    pub fn parse(prefixes: &[&str]) -> Result<Senders, Box<dyn Error>> {
        let read = |text: &&str| -> Result<(u32, u32), Box<dyn Error>> {
            let (address, length) = text.split_once('/').ok_or("a sender is ADDRESS/LENGTH")?;
            let (address, length): (Ipv4Addr, u32) = (address.parse()?, length.parse()?);
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            Ok((address.to_bits() & !hosts, hosts))
        };
        let all: Vec<_> = prefixes.iter().map(read).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("no sender".into());
        }
        Ok(Senders(all))
    }

    pub fn draw(&self, random: &mut Random) -> Ipv4Addr {
        let (network, hosts) = self.0[random.below(self.0.len())];
        Ipv4Addr::from_bits(network | (random.next() >> 32) as u32 & hosts)
    }
}

/// A query for a name and type (RFC 1035 section 4.1.1), with EDNS. Returns it with the places of random labels.
pub fn query(
    name: &str,
    rtype: u16,
    len_max: u16,
) -> Result<(Vec<u8>, Vec<usize>), Box<dyn Error>> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let places = write_name(&mut message, name)?;
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    // RFC 6891 section 6.1.2: root, OPT, size.
    message.extend([0, 0, 41]);
    message.extend(len_max.to_be_bytes());
    message.extend([0; 6]);
    Ok((message, places))
}

/// Letters of a random label.
pub const LABEL_LEN: usize = 12;

/// Writes a name; each label % becomes one of [`LABEL_LEN`] letters that [`fill`] draws. Returns where.
pub fn write_name(message: &mut Vec<u8>, name: &str) -> Result<Vec<usize>, Box<dyn Error>> {
    let mut places = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let random = [b'x'; LABEL_LEN];
        let label = match label {
            "%" => {
                places.push(message.len() + 1);
                &random[..]
            }
            label => label.as_bytes(),
        };
        message.push(
            u8::try_from(label.len())
                .ok()
                .filter(|len| *len < 64)
                .ok_or("a label is too long")?,
        );
        message.extend(label);
    }
    message.push(0);
    Ok(places)
}

/// Draws the letters of random labels.
pub fn fill(message: &mut [u8], places: &[usize], random: &mut Random) {
    for &place in places {
        let mut bits = random.next();
        for letter in &mut message[place..place + LABEL_LEN] {
            *letter = b'a' + (bits & 15) as u8;
            bits >>= 5;
        }
    }
}
