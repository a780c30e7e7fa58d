//! The mix of names that the load asks for.

use std::net::Ipv4Addr;

use crate::load::Question;
use crate::zones::{FRESH_COUNT, HOST_COUNT, WWW, host_address};

pub const PER_SECOND: u32 = 50;

/// Every second brings a TLD and a second-level zone that nobody has asked for; half of the questions are for names that
/// fall out of the cache and come back, the rest for hosts that are asked once.
pub fn world(n: u64) -> Question {
    let fresh = (n / u64::from(PER_SECOND)) as u32;
    let number = (n / 10) as u32 % HOST_COUNT;
    match n % 10 {
        5 => Question::new(
            format!("h{number:04}.bank.home."),
            host_address(number),
            true,
        ),
        6 => Question::new(
            format!("h{number:04}.plain.far."),
            host_address(number),
            false,
        ),
        7 => Question::new(
            format!("h{number:04}.news.far."),
            host_address(number),
            true,
        ),
        8 => fresh_tld(fresh),
        9 => fresh_home(fresh),
        _ => hot((n / 10 * 5 + n % 10) as usize),
    }
}

/// The part of the world that stays reachable when everything abroad is cut off.
pub fn domestic(n: u64) -> Question {
    let fresh = (n / u64::from(PER_SECOND)) as u32;
    let number = (n / 10) as u32 % HOST_COUNT;
    match n % 10 {
        0..5 => Question::new(
            format!("h{number:04}.bank.home."),
            host_address(number),
            true,
        ),
        5 | 6 => fresh_home(fresh),
        7 => Question::new("www.shop.home.", WWW, false),
        _ => Question::new("www.bank.home.", WWW, true),
    }
}

/// `www` of a TLD: the signed and the unsigned ones in turn.
pub fn fresh_tld(n: u32) -> Question {
    let (number, signed) = (n / 2 % FRESH_COUNT, n.is_multiple_of(2));
    let letter = if signed { 's' } else { 'u' };
    Question::new(format!("www.{letter}{number:02}."), WWW, signed)
}

/// `www` of a zone below `home.`: the signed and the unsigned ones in turn.
pub fn fresh_home(n: u32) -> Question {
    let (number, signed) = (n / 2 % FRESH_COUNT, n.is_multiple_of(2));
    let letter = if signed { 'q' } else { 'p' };
    Question::new(format!("www.{letter}{number:02}.home."), WWW, signed)
}

fn hot(n: usize) -> Question {
    let names = [
        ("www.bank.home.", WWW, true),
        ("www.shop.home.", WWW, false),
        ("www.gov.home.", WWW, true),
        ("www.news.far.", WWW, true),
        ("www.plain.far.", WWW, false),
        ("cname.portal.home.", Ipv4Addr::new(192, 0, 2, 9), true),
        ("mixed.portal.home.", WWW, false),
        ("any.wild.bank.home.", Ipv4Addr::new(192, 0, 2, 7), true),
        ("www.old.portal.home.", WWW, true),
        ("edge.cdn.far.", Ipv4Addr::new(192, 0, 2, 9), true),
    ];
    let (name, address, signed) = names[n % names.len()];
    Question::new(name, address, signed)
}
