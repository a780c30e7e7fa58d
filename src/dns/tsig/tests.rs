//! Signatures of real programs, of hickory-proto, and our own with every octet changed.

use super::*;
use crate::dns::{Message, Name, Question, Rtype};

/// When the conversations of `vectors.txt` were recorded.
const RECORDED_S: u64 = 1_795_721_947;
const SECRET: &[u8] = b"sixteen octets!!";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(text: &str, algorithm: Algorithm) -> Arc<Key> {
    Arc::new(Key::new(&name(text), algorithm, SECRET))
}

fn hub() -> Arc<Key> {
    key("Hub-Key.", Algorithm::HmacSha256)
}

fn ring_of(keys: &[&Arc<Key>]) -> Keyring {
    keys.iter().map(|key| Arc::clone(key)).collect()
}

/// The messages of the conversation with this title.
fn vector(title: &str) -> Vec<Vec<u8>> {
    let all = include_str!("vectors.txt");
    let mut lines = all.lines().skip_while(|line| !line.contains(title));
    lines.next().expect("a conversation of that title");
    lines
        .take_while(|line| !line.starts_with('#'))
        .map(|line| {
            let digits = |i| u8::from_str_radix(&line[i..i + 2], 16).unwrap();
            (0..line.len()).step_by(2).map(digits).collect()
        })
        .collect()
}

fn query() -> Vec<u8> {
    Message::query(4711, Question::new(name("v.test."), Rtype::AXFR)).encode(512)
}

fn answer(text: &str) -> Vec<u8> {
    let mut message = Message::query(4711, Question::new(name(text), Rtype::AXFR));
    message.response = true;
    message.encode(512)
}

fn signer(received: Received) -> Signer {
    match received {
        Received::Signed(signer) => signer,
        other => panic!("{other:?}"),
    }
}

fn refusal(received: Received) -> Box<Refusal> {
    match received {
        Received::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// A verifier that has signed the request of a conversation.
fn asked(key: &Arc<Key>, request: &[u8]) -> Verifier {
    let (_, tsig) = locate(request).unwrap().unwrap();
    Verifier::new(key.clone(), tsig.mac)
}

#[test]
fn real_programs_are_understood() {
    for (title, key, messages) in [
        ("AXFR of v.test.", hub(), 4),
        (
            "SOA with long.key.",
            key("long.key.", Algorithm::HmacSha512),
            2,
        ),
    ] {
        let all = vector(title);
        assert_eq!(all.len(), messages, "{title}");
        let received = check_request(&all[0], &ring_of(&[&key]), RECORDED_S);
        assert_eq!(*signer(received).key(), key, "{title}");
        let mut verifier = asked(&key, &all[0]);
        for answer in &all[1..] {
            assert_eq!(verifier.take(answer, RECORDED_S), Ok(()), "{title}");
        }
        assert_eq!(verifier.finish(), Ok(()));
    }
}

/// What real programs sign is what we sign, octet for octet.
#[test]
fn real_programs_would_understand_us() {
    for (title, key) in [
        ("AXFR of v.test.", hub()),
        (
            "SOA with long.key.",
            key("long.key.", Algorithm::HmacSha512),
        ),
    ] {
        let all = vector(title);
        let (start, tsig) = locate(&all[0]).unwrap().unwrap();
        let bare = |wire: &[u8], start: usize| {
            let mut bare = wire[..start].to_vec();
            bare[11] -= 1;
            bare
        };
        let mut request = bare(&all[0], start);
        sign_request(&key, &mut request, tsig.time_s);
        assert_eq!(request, all[0], "{title}");
        let mut signer = signer(check_request(&all[0], &ring_of(&[&key]), RECORDED_S));
        for theirs in &all[1..] {
            let (start, tsig) = locate(theirs).unwrap().unwrap();
            let mut ours = bare(theirs, start);
            signer.sign(&mut ours, tsig.time_s);
            assert_eq!(&ours, theirs, "{title}");
        }
    }
}

#[test]
fn refusals_of_real_programs_are_understood() {
    for (title, key, error) in [
        (
            "an unknown key",
            key("none.", Algorithm::HmacSha256),
            Error::BADKEY,
        ),
        ("another secret", hub(), Error::BADSIG),
    ] {
        let all = vector(title);
        let mut verifier = asked(&key, &all[0]);
        let found = verifier.take(&all[1], RECORDED_S);
        assert_eq!(found, Err(Fault::Refused(error)), "{title}");
        // And ours are the same.
        let refusal = refusal(check_request(&all[0], &ring_of(&[&hub()]), RECORDED_S));
        assert_eq!(refusal.error(), error);
        let (start, _) = locate(&all[1]).unwrap().unwrap();
        let mut ours = all[1][..start].to_vec();
        ours[11] -= 1;
        let before = ours.len();
        refusal.append(&mut ours, RECORDED_S);
        assert_eq!(ours, all[1], "{title}");
        assert!(ours.len() - before <= refusal.record_len());
    }
}

/// hickory-proto verifies what we sign.
#[test]
fn hickory_agrees() {
    use hickory_proto::rr::{Name as HickoryName, TSigner, rdata::tsig::TsigAlgorithm};
    for (ours, theirs) in [
        (Algorithm::HmacSha256, TsigAlgorithm::HmacSha256),
        (Algorithm::HmacSha384, TsigAlgorithm::HmacSha384),
        (Algorithm::HmacSha512, TsigAlgorithm::HmacSha512),
    ] {
        let key = key("hub-key.", ours);
        let signer = TSigner::new(
            SECRET.to_vec(),
            theirs,
            HickoryName::from_ascii("hub-key.").unwrap(),
            FUDGE_S,
        );
        let mut request = query();
        let before = request.len();
        sign_request(&key, &mut request, RECORDED_S);
        assert_eq!(request.len() - before, key.record_len());
        let verified = signer
            .unwrap()
            .verify_message_byte(&request, None, true)
            .unwrap();
        assert_eq!(verified.1, RECORDED_S);
    }
}

#[test]
fn every_changed_octet_is_noticed() {
    let keys = ring_of(&[&hub()]);
    let mut request = query();
    let verifier = || {
        let mut request = query();
        sign_request(&hub(), &mut request, RECORDED_S)
    };
    sign_request(&hub(), &mut request, RECORDED_S);
    let (start, _) = locate(&request).unwrap().unwrap();
    let original_id_at = request.len() - 6;
    let mut answered = signer(check_request(&request, &keys, RECORDED_S));
    let mut reply = answer("v.test.");
    answered.sign(&mut reply, RECORDED_S);
    let reply_start = locate(&reply).unwrap().unwrap().0;
    for (wire, start) in [(&request, start), (&reply, reply_start)] {
        for at in 0..wire.len() {
            for bit in 0..8 {
                let mut changed = wire.clone();
                changed[at] ^= 1 << bit;
                // The message's own ID is not covered (RFC 8945 section 4.3.2): whoever asked compares it. Letter case of names
                // in the record does not count.
                let id = at < 2;
                let case = at >= start && wire[at].is_ascii_alphabetic() && bit == 5;
                let good = if wire == &request {
                    matches!(
                        check_request(&changed, &keys, RECORDED_S),
                        Received::Signed(_)
                    )
                } else {
                    verifier().take(&changed, RECORDED_S).is_ok()
                };
                assert!(!good || id || case, "{at} {bit}");
                assert!(good || !id, "{at} {bit}");
            }
        }
    }
    // A changed original ID is a changed message.
    let mut changed = request.clone();
    changed[original_id_at] ^= 1;
    let refused = refusal(check_request(&changed, &keys, RECORDED_S));
    assert_eq!(refused.error(), Error::BADSIG);
    for end in 0..request.len() {
        let cut = check_request(&request[..end], &keys, RECORDED_S);
        assert!(matches!(cut, Received::Malformed), "{end}");
    }
}

/// RFC 8945 section 5.1: the last record of the additional section, once, of class ANY and TTL 0.
#[test]
fn the_record_stands_last() {
    let mut good = query();
    sign_request(&hub(), &mut good, RECORDED_S);
    let (start, _) = locate(&good).unwrap().unwrap();
    let check = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut wire = good.clone();
        change(&mut wire);
        let received = check_request(&wire, &ring_of(&[&hub()]), RECORDED_S);
        assert!(matches!(received, Received::Malformed), "{received:?}");
    };
    check(&|w| w.push(0));
    check(&|w| {
        let record = w[start..].to_vec();
        w.extend(record);
        w[11] = 2;
    });
    // A record after it.
    check(&|w| {
        w.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        w[11] = 2;
    });
    // In the authority section.
    check(&|w| (w[9], w[11]) = (1, 0));
    let class_at = start + hub().name().wire().len() + 2;
    check(&|w| w[class_at + 1] = 1);
    check(&|w| w[class_at + 5] = 1);
    assert!(matches!(
        check_request(&query(), &ring_of(&[&hub()]), RECORDED_S),
        Received::Unsigned
    ));
    assert!(matches!(
        check_request(b"", &Keyring::default(), 0),
        Received::Malformed
    ));
}

#[test]
fn names_and_algorithms_must_fit() {
    let mut request = query();
    sign_request(&hub(), &mut request, RECORDED_S);
    let error = |keys: &[&Arc<Key>]| {
        let received = check_request(&request, &ring_of(keys), RECORDED_S);
        refusal(received).error()
    };
    let other = key("other.", Algorithm::HmacSha256);
    let longer = key("hub-key.", Algorithm::HmacSha384);
    assert_eq!(error(&[]), Error::BADKEY);
    assert_eq!(error(&[&other]), Error::BADKEY);
    assert_eq!(error(&[&longer]), Error::BADKEY);
    let wrong = Arc::new(Key::new(&name("hub-key."), Algorithm::HmacSha256, b"no"));
    assert_eq!(error(&[&wrong]), Error::BADSIG);
    // An answer signed with a key that was not asked with.
    let mut verifier = sign_request(&other, &mut query(), RECORDED_S);
    let mut signer = signer(check_request(&request, &ring_of(&[&hub()]), RECORDED_S));
    let mut reply = answer("v.test.");
    signer.sign(&mut reply, RECORDED_S);
    assert_eq!(verifier.take(&reply, RECORDED_S), Err(Fault::OtherKey));
}

/// RFC 8945 section 5.2.3, both ends.
#[test]
fn the_clocks_may_differ_by_the_fudge() {
    let keys = ring_of(&[&hub()]);
    let mut request = query();
    let mut verifier = sign_request(&hub(), &mut request, RECORDED_S);
    let fudge = u64::from(FUDGE_S);
    for (at, good) in [
        (RECORDED_S - fudge - 1, false),
        (RECORDED_S - fudge, true),
        (RECORDED_S + fudge, true),
        (RECORDED_S + fudge + 1, false),
        (0, false),
        (u64::MAX, false),
    ] {
        let received = check_request(&request, &keys, at);
        assert_eq!(matches!(received, Received::Signed(_)), good, "{at}");
    }
    let late = RECORDED_S + 1000;
    let refusal = refusal(check_request(&request, &keys, late));
    assert_eq!(
        (refusal.error(), refusal.rcode()),
        (Error::BADTIME, Rcode::NOTAUTH)
    );
    // It is signed as of the client's time, so the client can believe it.
    let mut reply = answer("v.test.");
    let before = reply.len();
    refusal.append(&mut reply, late);
    assert_eq!(reply.len() - before, refusal.record_len());
    let (_, tsig) = locate(&reply).unwrap().unwrap();
    assert_eq!(tsig.time_s, RECORDED_S);
    assert_eq!(tsig.other, late.to_be_bytes()[2..]);
    let found = verifier.take(&reply, RECORDED_S);
    assert_eq!(found, Err(Fault::Refused(Error::BADTIME)));
    // An answer of long ago, sent again.
    let mut verifier = sign_request(&hub(), &mut query(), RECORDED_S);
    let mut signer = signer(check_request(&request, &keys, RECORDED_S));
    let mut reply = answer("v.test.");
    signer.sign(&mut reply, RECORDED_S - fudge - 1);
    assert_eq!(verifier.take(&reply, RECORDED_S), Err(Fault::Time));
}

/// RFC 8945 sections 5.2.2.1 and 5.2.4.
#[test]
fn shortened_signatures_are_refused() {
    let key = hub();
    let keys = ring_of(&[&key]);
    let with_mac = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut request = query();
        sign_request(&key, &mut request, RECORDED_S);
        let (start, mut tsig) = locate(&request).unwrap().unwrap();
        change(&mut tsig.mac);
        request.truncate(start);
        request[11] -= 1;
        tsig.append(&mut request);
        check_request(&request, &keys, RECORDED_S)
    };
    for len in [0, 9, 15] {
        let received = with_mac(&|mac| mac.truncate(len));
        assert!(matches!(received, Received::Malformed), "{len}");
    }
    assert!(matches!(with_mac(&|mac| mac.push(0)), Received::Malformed));
    for len in [16, 31] {
        let short = refusal(with_mac(&|mac| mac.truncate(len)));
        assert_eq!(short.error(), Error::BADTRUNC, "{len}");
        let wrong = refusal(with_mac(&|mac| {
            mac.truncate(len);
            mac[0] ^= 1;
        }));
        assert_eq!(wrong.error(), Error::BADSIG, "{len}");
    }
    let mut request = query();
    let mut verifier = sign_request(&key, &mut request, RECORDED_S);
    let mut signer = signer(check_request(&request, &keys, RECORDED_S));
    let mut reply = answer("v.test.");
    signer.sign(&mut reply, RECORDED_S);
    let (start, mut tsig) = locate(&reply).unwrap().unwrap();
    tsig.mac.truncate(16);
    reply.truncate(start);
    reply[11] -= 1;
    tsig.append(&mut reply);
    assert_eq!(verifier.take(&reply, RECORDED_S), Err(Fault::Shortened));
}

/// A stream of signed and unsigned messages: `true` = signed.
fn stream(signed: impl IntoIterator<Item = bool>) -> (Verifier, Vec<Vec<u8>>) {
    let key = hub();
    let mut request = query();
    let verifier = sign_request(&key, &mut request, RECORDED_S);
    let received = check_request(&request, &ring_of(&[&key]), RECORDED_S);
    let mut signer = signer(received);
    let mut messages = Vec::new();
    // What a server that signs only some messages has to cover with the next signature.
    let mut since = Vec::new();
    for (i, signed) in signed.into_iter().enumerate() {
        let mut message = answer(&format!("n{i}.v.test."));
        if !signed {
            since.extend_from_slice(&message);
            messages.push(message);
            continue;
        }
        let bare = message.clone();
        signer.sign(&mut message, RECORDED_S);
        if let Some(last) = last_signed(&messages).filter(|_| !since.is_empty()) {
            let (_, mut tsig) = locate(&message).unwrap().unwrap();
            let prior = locate(last).unwrap().unwrap().1.mac;
            let all = [&std::mem::take(&mut since)[..], &bare].concat();
            tsig.mac = mac(&key, Some(&prior), &all, &tsig, Form::Timers);
            message = bare;
            tsig.append(&mut message);
            signer.prior = Some(tsig.mac);
        }
        messages.push(message);
    }
    (verifier, messages)
}

fn last_signed(messages: &[Vec<u8>]) -> Option<&Vec<u8>> {
    let signed = |m: &&Vec<u8>| locate(m).unwrap().is_some();
    messages.iter().rev().find(signed)
}

fn take_all(verifier: &mut Verifier, messages: &[Vec<u8>]) -> Result<(), Fault> {
    for message in messages {
        verifier.take(message, RECORDED_S)?;
    }
    verifier.finish()
}

/// RFC 8945 section 5.3.1.
#[test]
fn up_to_99_messages_between_two_signed_ones_may_be_unsigned() {
    let check = |pattern: Vec<bool>, expected| {
        let (mut verifier, messages) = stream(pattern.clone());
        assert_eq!(take_all(&mut verifier, &messages), expected, "{pattern:?}");
    };
    let around = |unsigned: usize| {
        let mut pattern = vec![false; unsigned];
        pattern.insert(0, true);
        pattern.push(true);
        pattern
    };
    check(vec![true], Ok(()));
    check(vec![true; 5], Ok(()));
    check(around(1), Ok(()));
    check(around(99), Ok(()));
    check([around(99), around(99)].concat(), Ok(()));
    check(around(100), Err(Fault::TooFewSigned));
    check(vec![false, true], Err(Fault::Unsigned));
    check(vec![true, false], Err(Fault::Unsigned));
    check(vec![], Err(Fault::Unsigned));
}

#[test]
fn messages_cannot_be_left_out_exchanged_doubled_or_changed() {
    let pattern = [true, true, false, false, true, false, true];
    let check = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let (mut verifier, mut messages) = stream(pattern);
        change(&mut messages);
        assert!(take_all(&mut verifier, &messages).is_err());
    };
    for i in 0..pattern.len() {
        check(&|m| drop(m.remove(i)));
        check(&|m| {
            let copy = m[i].clone();
            m.insert(i, copy);
        });
        check(&|m| {
            let at = HEADER_LEN + 2;
            m[i][at] ^= 1;
        });
        for j in 0..i {
            check(&|m| m.swap(i, j));
        }
    }
    // The answer to another question.
    let (_, messages) = stream([true]);
    let mut other = Message::query(4711, Question::new(name("w.test."), Rtype::SOA)).encode(512);
    let mut verifier = sign_request(&hub(), &mut other, RECORDED_S);
    assert_eq!(take_all(&mut verifier, &messages), Err(Fault::Wrong));
}

#[test]
fn secrets_are_read_and_never_shown() {
    assert_eq!(
        secret_from_base64(" c2l4dGVlbiBvY3RldHMhIQ==\n"),
        Ok(SECRET.to_vec())
    );
    assert_eq!(
        secret_from_base64("c2l4dGVl\nbiBvY3RldHMhIQ=="),
        Ok(SECRET.to_vec())
    );
    assert_eq!(
        secret_from_base64("sixteen octets!!"),
        Err(KeyError::Base64)
    );
    assert_eq!(secret_from_base64("\n"), Err(KeyError::Length(0)));
    assert_eq!(
        secret_from_base64(&"AAAA".repeat(100)),
        Err(KeyError::Length(300))
    );
    assert_eq!(format!("{:?}", hub()), "Key(hub-key. hmac-sha256.)");
    assert_ne!(hub(), key("hub-key.", Algorithm::HmacSha512));
    assert_ne!(
        *hub(),
        Key::new(&name("hub-key."), Algorithm::HmacSha256, b"other")
    );
    assert_eq!(hub(), key("HUB-KEY.", Algorithm::HmacSha256));
}
