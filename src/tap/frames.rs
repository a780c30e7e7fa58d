//! Frame streams, the transport of dnstap (https://farsightsec.github.io/fstrm, `fstrm/control.h`), on the side that writes.
//!
//! A data frame is its length (four octets, the highest first) and so many octets. A length of 0 announces a control frame: its own length, its
//! type, and fields of a type (1 = content type), a length and so many octets, all numbers of four octets. Over a socket:
//!
//! ```text
//!   we:  READY [content type]            START [content type]  data ...  STOP
//!   he:          ACCEPT [content types]                                        FINISH
//! ```

use std::io::{self, Read};

/// What is sent in these frames.
pub const CONTENT_TYPE: &[u8] = b"protobuf:dnstap.Dnstap";
/// Longest control frame that is read; `FSTRM_CONTROL_FRAME_LENGTH_MAX` of the library.
pub const CONTROL_LEN_MAX: usize = 512;
/// The field that says what the data frames hold.
const FIELD_CONTENT_TYPE: u32 = 1;

/// The type of a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// He takes what was offered.
    Accept = 1,
    /// Data follows.
    Start = 2,
    /// No more data follows.
    Stop = 3,
    /// We would send this.
    Ready = 4,
    /// He has read everything.
    Finish = 5,
}

impl Control {
    /// A control frame to send; READY and START say what the data frames hold.
    pub fn frame(self) -> Vec<u8> {
        let mut content = (self as u32).to_be_bytes().to_vec();
        if matches!(self, Control::Ready | Control::Start) {
            content.extend_from_slice(&FIELD_CONTENT_TYPE.to_be_bytes());
            content.extend_from_slice(&(CONTENT_TYPE.len() as u32).to_be_bytes());
            content.extend_from_slice(CONTENT_TYPE);
        }
        [&[0; 4], &(content.len() as u32).to_be_bytes(), &content[..]].concat()
    }

    /// Reads a control frame's content. An error says what is wrong with it.
    ///
    /// A frame that lists content types must have ours among them; one that lists none takes any, as the library does.
    pub fn parse(content: &[u8]) -> Result<Control, &'static str> {
        let (kind, mut rest) = number(content).ok_or("a control frame without a type")?;
        let kinds = [
            Control::Accept,
            Control::Start,
            Control::Stop,
            Control::Ready,
            Control::Finish,
        ];
        let found = kinds.into_iter().find(|known| *known as u32 == kind);
        let found = found.ok_or("a control frame of an unknown type")?;
        let (mut listed, mut ours) = (false, false);
        while !rest.is_empty() {
            let (field, after) = number(rest).ok_or("a control frame cut short")?;
            let (len, after) = number(after).ok_or("a control frame cut short")?;
            let value = after.get(..len as usize);
            let value = value.ok_or("a control frame cut short")?;
            if field != FIELD_CONTENT_TYPE {
                return Err("a control frame with an unknown field");
            }
            listed = true;
            ours |= value == CONTENT_TYPE;
            rest = &after[value.len()..];
        }
        match listed && !ours {
            true => Err("the collector takes no dnstap (another content type)"),
            false => Ok(found),
        }
    }

    /// Reads a whole control frame.
    ///
    /// # Errors
    /// What came is none, is too long, or is cut short.
    pub fn read(from: &mut impl Read) -> io::Result<Control> {
        let mut head = [0; 8];
        from.read_exact(&mut head)?;
        let [escape, len] = [&head[..4], &head[4..]].map(|part| number(part).map_or(0, |n| n.0));
        let len = len as usize;
        if escape != 0 || len > CONTROL_LEN_MAX {
            return Err(invalid("no control frame, or one too long"));
        }
        let mut content = vec![0; len];
        from.read_exact(&mut content)?;
        Control::parse(&content).map_err(invalid)
    }
}

/// What stands before a data frame of so many octets.
pub fn data_head(len: usize) -> Option<[u8; 4]> {
    u32::try_from(len).ok().map(u32::to_be_bytes)
}

fn number(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = octets.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_frames_are_read_as_they_are_written() {
        let kinds = [
            Control::Accept,
            Control::Start,
            Control::Stop,
            Control::Ready,
            Control::Finish,
        ];
        for kind in kinds {
            assert_eq!(Control::read(&mut &kind.frame()[..]).unwrap(), kind);
        }
        let ready = b"\0\0\0\0\0\0\0\x22\0\0\0\x04\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
        assert_eq!(Control::Ready.frame(), ready);
    }

    #[test]
    fn what_is_no_control_frame_is_refused() {
        let check = |content: &[u8], expected: &str| {
            assert_eq!(Control::parse(content), Err(expected), "{content:?}");
        };
        check(b"", "a control frame without a type");
        check(b"\0\0\0\x09", "a control frame of an unknown type");
        check(b"\0\0\0\x01\0\0\0\x01", "a control frame cut short");
        check(
            b"\0\0\0\x01\0\0\0\x01\xFF\xFF\xFF\xFF",
            "a control frame cut short",
        );
        check(
            b"\0\0\0\x01\0\0\0\x02\0\0\0\0",
            "a control frame with an unknown field",
        );
        check(
            b"\0\0\0\x01\0\0\0\x01\0\0\0\x01x",
            "the collector takes no dnstap (another content type)",
        );
        let several = [
            b"\0\0\0\x01\0\0\0\x01\0\0\0\x01x\0\0\0\x01\0\0\0\x16",
            CONTENT_TYPE,
        ]
        .concat();
        assert_eq!(Control::parse(&several), Ok(Control::Accept));
        let long = [&[0; 4], &0xFFFF_u32.to_be_bytes()[..], &[0; 0xFFFF]].concat();
        assert!(Control::read(&mut &long[..]).is_err());
        assert!(Control::read(&mut &b"\0\0\0\x05\0\0\0\x04\0\0\0\x01"[..]).is_err());
    }
}
