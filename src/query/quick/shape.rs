//! One answer for many names: a denial for everything in a gap of a zone, a referral for everything below a cut.
//!
//! Why: a flood of names that do not exist is asked once per name, so that no ready answer is ever asked for again. But what a zone says of all names
//! between two neighbours is the same but for the question: one proof for each gap, not one for each name.
//!
//! Model: an answer ends with octets that do not depend on the name, but for compression pointers, which all move by the difference of the
//! names' lengths: what they point to is behind the question, or the end of the name that all names of the area share. A name whose
//! next label could be pointed to goes the general way, which would compress more.
//!
//! Areas are kept for own zones, and gaps for copies of zones that are always asked first: nobody else has a say there. Where somebody
//! has (another zone, a special name, a name that is not validated: *landmarks*), there is no area.

use super::ordered::Ordered;
use super::ready::{COOKIE_LEN, Identity, Keep, Kind, Places, Term};
use crate::clock::Now;
use crate::dns::message::HEADER_LEN;
use crate::dns::{Name, Question, Rcode, RrSet, Rtype, Soa, rdata};
use crate::query::reply::Answer;
use crate::zone::key::push_key;

/// Type and class of a question, in octets.
const QUESTION_TAIL_LEN: usize = 4;
/// Forms of question that one area has answers for; the oldest goes.
const FORMS_MAX: usize = 16;
/// Areas of one thread: to put one in moves those after it, which must not take long.
const AREAS_MAX: usize = 8192;
/// What an area and its places in the maps take beside their octets, in bytes, about.
const OVERHEAD_BYTES: usize = 256;

/// The names that get the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those between two neighbours of a zone, right below its apex.
    Gap {
        /// The apex.
        apex: Name,
        /// The neighbour before.
        from: Name,
        /// The neighbour after; the apex after the last.
        to: Name,
    },
    /// Those at and below a cut.
    Cut(Name),
}

impl Scope {
    /// The names that a copy or an own zone gives this answer to, if it is one for many.
    pub fn of(answer: &Answer, question: &Question, kind: Kind) -> Option<Scope> {
        if !answer.answer.is_empty() {
            return None;
        }
        let mut sets = answer.authority.iter();
        let soa = sets.clone().find(|set| set.rtype == Rtype::SOA);
        match (answer.rcode, soa) {
            (Rcode::NXDOMAIN, Some(soa)) => {
                let gaps = sets.filter(|set| set.rtype == Rtype::NSEC);
                let mut gaps = gaps.filter_map(|set| {
                    let (to, _) = Name::from_wire_prefix(set.rdatas.first()?).ok()?;
                    Some((set.name.clone(), to))
                });
                let key = key_of(&question.name);
                gaps.find_map(|(from, to)| {
                    let scope = Scope::Gap {
                        apex: soa.name.clone(),
                        from,
                        to,
                    };
                    let (_, area) = Area::of(&scope);
                    area.holds(&key, question.rtype).then_some(scope)
                })
            }
            (Rcode::NOERROR, None) if kind == Kind::Own => {
                let ns = sets.find(|set| set.rtype == Rtype::NS)?;
                let is_below = question.name.is_within(&ns.name) && !ns.name.is_root();
                is_below.then(|| Scope::Cut(ns.name.clone()))
            }
            _ => None,
        }
    }

    /// Its name in a table: the key of its beginning.
    pub fn start(&self) -> Vec<u8> {
        match self {
            Scope::Gap { from, .. } => key_of(from),
            Scope::Cut(cut) => key_of(cut),
        }
    }

    /// The end of the name that all of its names share.
    fn suffix(&self) -> &Name {
        match self {
            Scope::Gap { apex, .. } => apex,
            Scope::Cut(cut) => cut,
        }
    }
}

fn key_of(name: &Name) -> Vec<u8> {
    let mut key = Vec::new();
    push_key(&mut key, name.wire(), Name::root().wire());
    key
}

/// An answer without its question.
#[derive(Debug)]
struct Shape {
    /// Flags and rights; neither type nor room matter.
    form: u64,
    term: Term,
    hits: u32,
    like: u64,
    header: [u8; HEADER_LEN],
    tail: Box<[u8]>,
    /// Compression pointers in the tail, which are right for a name of `made_for` octets.
    pointers: Box<[u16]>,
    made_for: usize,
    /// Labels that names of the tail have right before the shared end of the name, in lower case.
    nexts: Box<[Box<[u8]>]>,
    cookie_at: Option<usize>,
}

/// The names of a scope by their keys, and their answers in different forms.
#[derive(Debug)]
struct Area {
    /// The key after the last of its names; none after the end of a zone of everything.
    end: Option<Box<[u8]>>,
    /// Names with one of these beginnings are not in the gap, but below a neighbour or above it; the first is that of all names.
    within: Box<[u8]>,
    without: Vec<Box<[u8]>>,
    /// The question for DS at the cut is not its own.
    is_cut: bool,
    kind: Kind,
    /// The end of the name that all of its names share.
    suffix: Name,
    /// Its length in octets, where it need not be waited for.
    suffix_len: usize,
    shapes: Vec<Shape>,
}

impl Area {
    /// Where its names begin, and itself, empty.
    fn of(scope: &Scope) -> (Vec<u8>, Area) {
        let within = key_of(scope.suffix());
        let after_all = || {
            // Every key below ends with a 0 where this has a 1.
            let mut end = within.clone();
            let last = end.pop()?;
            end.push(last + 1);
            Some(end.into_boxed_slice())
        };
        let (start, end, without) = match scope {
            Scope::Cut(_) => (within.clone(), after_all(), Vec::new()),
            Scope::Gap { apex, from, to } => {
                let (start, to_key) = (key_of(from), key_of(to));
                let end = match to == apex {
                    true => after_all(),
                    false => Some(to_key.clone().into_boxed_slice()),
                };
                // The first label below the apex: a name below that has another encloser.
                let first = |key: &[u8]| {
                    let rest = key.strip_prefix(&within[..])?;
                    let len = rest.iter().position(|octet| *octet == 0)? + 1;
                    Some(key[..within.len() + len].into())
                };
                let without = [&start[..], &to_key].into_iter().filter_map(first);
                let without = without.collect();
                (start, end, without)
            }
        };
        let area = Area {
            end,
            without,
            is_cut: matches!(scope, Scope::Cut(_)),
            kind: Kind::Own,
            suffix: scope.suffix().clone(),
            suffix_len: scope.suffix().wire().len(),
            within: within.into_boxed_slice(),
            shapes: Vec::new(),
        };
        (start, area)
    }

    /// Whether the name with this key, which is not before the area's start, gets the area's answer.
    fn holds(&self, key: &[u8], rtype: Rtype) -> bool {
        let is_inside = key.starts_with(&self.within)
            && self.end.as_ref().is_none_or(|end| key < &end[..])
            && !self.without.iter().any(|first| key.starts_with(first));
        let at_top = key.len() == self.within.len();
        match self.is_cut {
            true => is_inside && !(at_top && rtype == Rtype::DS),
            false => is_inside && !at_top,
        }
    }

    fn bytes(&self) -> usize {
        let shapes = self.shapes.iter();
        let octets =
            shapes.map(|shape| shape.tail.len() + 2 * shape.pointers.len() + OVERHEAD_BYTES);
        let keys = [Some(&self.within), self.end.as_ref()];
        let keys = keys.into_iter().flatten().chain(&self.without);
        let keys: usize = keys.map(|key| key.len()).sum();
        octets.sum::<usize>() + keys + OVERHEAD_BYTES
    }

    /// Most areas have a form or two.
    fn add(&mut self, shape: Shape) {
        self.shapes.reserve_exact(1);
        self.shapes.push(shape);
    }

    /// Takes out what was made for a form, and tells of it.
    fn drop_form(&mut self, form: u64, gone: &mut impl FnMut(Kind, u8, &Name, u32)) {
        let (kind, suffix) = (self.kind, &self.suffix);
        self.shapes.retain(|old| {
            let stays = old.form != form;
            if !stays {
                gone(kind, old.flags(), suffix, old.hits);
            }
            stays
        });
    }

    /// Tells of all that was given.
    fn tell(&self, gone: &mut impl FnMut(Kind, u8, &Name, u32)) {
        for shape in &self.shapes {
            gone(self.kind, shape.flags(), &self.suffix, shape.hits);
        }
    }

    /// Whether what the other holds goes for the same names.
    fn is_same(&self, other: &Area) -> bool {
        self.kind == other.kind && self.end == other.end && self.within == other.within
    }
}

impl Shape {
    /// The flags of its form.
    fn flags(&self) -> u8 {
        (self.form >> 24) as u8
    }
}

/// What is given to many names, and so what it counts as.
pub struct Shaped<'s> {
    /// Who gave it.
    pub kind: Kind,
    /// What it has in common with others.
    pub like: u64,
    shape: &'s mut Shape,
}

/// Where an area is, until one comes or goes.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    is_cut: bool,
    at: usize,
    version: u64,
}

/// The areas of one thread.
#[derive(Default)]
pub struct Shapes {
    cuts: Ordered<Area>,
    gaps: Ordered<Area>,
    /// Another one whenever an area comes or goes.
    version: u64,
    bytes: usize,
    bytes_max: usize,
    /// Keys in order, from when they were first needed on.
    landmarks: Option<Vec<Vec<u8>>>,
    /// Room for the key of the name that is looked for.
    key: Vec<u8>,
}

impl Shapes {
    /// No areas, and room for so many bytes of them.
    pub fn new(bytes_max: usize) -> Shapes {
        Shapes {
            bytes_max,
            ..Shapes::default()
        }
    }

    /// Where the area is that a name is in, if it may have an answer of an area. What [`Shapes::find`] will want is read into the processor's cache.
    pub fn seek(&mut self, name: &[u8], rtype: Rtype) -> Option<Spot> {
        if self.bytes == 0 {
            return None;
        }
        self.key.clear();
        if !push_key(&mut self.key, name, &[0]) {
            return None;
        }
        let key = &self.key[..];
        for (is_cut, areas) in [(true, &self.cuts), (false, &self.gaps)] {
            if areas.len() == 0 {
                continue;
            }
            let at = areas.at_or_before(key);
            let found = at.and_then(|at| Some((at, areas.get(at)?)));
            let Some((at, area)) = found.filter(|(_, area)| area.holds(key, rtype)) else {
                continue;
            };
            let octets = area.shapes.iter().fold(0, |sum, shape| {
                sum ^ shape.tail.first().copied().unwrap_or_default()
            });
            std::hint::black_box(octets);
            return Some(Spot {
                is_cut,
                at,
                version: self.version,
            });
        }
        None
    }

    /// The answer of the area there, for a question that is in it; none where areas have come or gone since it was sought.
    pub fn find(&mut self, spot: Spot, of: &Identity<'_>, now: Now) -> Option<Shaped<'_>> {
        if spot.version != self.version {
            return None;
        }
        let areas = match spot.is_cut {
            true => &mut self.cuts,
            false => &mut self.gaps,
        };
        let area = areas.get_mut(spot.at)?;
        let next = next_label(of.name, area.suffix_len);
        let kind = area.kind;
        let form = form_of(of);
        let mut shapes = area.shapes.iter_mut();
        let shape = shapes.find(|shape| shape.form == form && shape.term.is_on(now))?;
        let len = HEADER_LEN + of.name.len() + QUESTION_TAIL_LEN + shape.tail.len();
        let could_be_pointed_to = next.is_some_and(|next| {
            let mut nexts = shape.nexts.iter();
            nexts.any(|label| label.eq_ignore_ascii_case(next))
        });
        (len <= usize::from(of.limit) && !could_be_pointed_to).then_some(Shaped {
            kind,
            like: shape.like,
            shape,
        })
    }

    /// Keeps an answer for the names of its scope, unless somebody else has a say among them; what had to go comes out. `landmarks` says where.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, from where all of these are at hand"
    )]
    pub fn put(
        &mut self,
        of: &Identity<'_>,
        scope: &Scope,
        answer: &[u8],
        keep: &Keep,
        now: Now,
        landmarks: impl FnOnce() -> Vec<Name>,
        gone: &mut impl FnMut(Kind, u8, &Name, u32),
    ) -> bool {
        self.version += 1;
        let (start, mut area) = Area::of(scope);
        let marks = self.landmarks.get_or_insert_with(|| {
            let mut keys: Vec<_> = landmarks().iter().map(key_of).collect();
            keys.sort_unstable();
            keys
        });
        let first = marks.partition_point(|mark| match area.is_cut {
            true => *mark < start,
            false => *mark <= start,
        });
        let is_taken = marks
            .get(first)
            .is_some_and(|mark| area.end.as_ref().is_none_or(|end| **mark < **end));
        if is_taken {
            return false;
        }
        let Some(shape) = Shape::of(of, scope.suffix(), answer, keep, now) else {
            return false;
        };
        let is_new = self.areas(scope).find_mut(&start).is_none();
        if self.bytes > self.bytes_max || is_new && self.cuts.len() + self.gaps.len() >= AREAS_MAX {
            let marks = self.landmarks.take();
            self.clear(gone);
            self.landmarks = marks;
        }
        area.kind = keep.kind;
        let map = match scope {
            Scope::Cut(_) => &mut self.cuts,
            Scope::Gap { .. } => &mut self.gaps,
        };
        let Some(known) = map.find_mut(&start) else {
            area.add(shape);
            self.bytes += area.bytes();
            map.insert(start.into_boxed_slice(), area);
            return true;
        };
        self.bytes -= known.bytes();
        if !known.is_same(&area) {
            known.tell(gone);
            *known = area;
        }
        known.drop_form(shape.form, gone);
        if known.shapes.len() >= FORMS_MAX {
            known.drop_form(known.shapes[0].form, gone);
        }
        known.add(shape);
        self.bytes += known.bytes();
        true
    }

    fn areas(&mut self, of: &Scope) -> &mut Ordered<Area> {
        match of {
            Scope::Cut(_) => &mut self.cuts,
            Scope::Gap { .. } => &mut self.gaps,
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, gone: &mut impl FnMut(Kind, u8, &Name, u32)) {
        self.version += 1;
        for area in self.cuts.iter().chain(self.gaps.iter()) {
            area.tell(gone);
        }
        self.cuts.clear();
        self.gaps.clear();
        self.bytes = 0;
        self.landmarks = None;
    }
}

/// What of an identity makes another answer: all but name and type. The room for it does not: nothing was left out, and it is looked at that it fits.
fn form_of(of: &Identity<'_>) -> u64 {
    let whole = Identity {
        rtype: Rtype(0),
        limit: 0,
        ..*of
    };
    whole.rest()
}

impl Shaped<'_> {
    /// Appends it to `out`, for this question (name as asked, type and class).
    pub fn write(
        self,
        query_id: [u8; 2],
        question: &[u8],
        name_len: usize,
        cookie: Option<&[u8; COOKIE_LEN]>,
        out: &mut Vec<u8>,
    ) {
        let shape = self.shape;
        shape.hits = shape.hits.saturating_add(1);
        out.extend_from_slice(&query_id);
        out.extend_from_slice(&shape.header[2..]);
        out.extend_from_slice(question);
        let begin = out.len();
        out.extend_from_slice(&shape.tail);
        let tail = &mut out[begin..];
        // Wraps where the name is shorter, and back.
        let moved = (name_len as u16).wrapping_sub(shape.made_for as u16);
        for at in &shape.pointers {
            if let Some(pointer) = tail
                .get_mut(usize::from(*at)..)
                .and_then(|rest| rest.first_chunk_mut::<2>())
            {
                *pointer = u16::from_be_bytes(*pointer)
                    .wrapping_add(moved)
                    .to_be_bytes();
            }
        }
        if let (Some(at), Some(cookie)) = (shape.cookie_at, cookie)
            && let Some(room) = tail.get_mut(at..at + COOKIE_LEN)
        {
            room.copy_from_slice(cookie);
        }
    }
}

impl Shape {
    fn of(of: &Identity<'_>, suffix: &Name, answer: &[u8], keep: &Keep, now: Now) -> Option<Shape> {
        let has_cookie = of.flags & super::plain::HAS_COOKIE != 0;
        let places = Places::of(answer)?;
        let tail_at = HEADER_LEN + of.name.len() + QUESTION_TAIL_LEN;
        let (header, tail) = (answer.first_chunk::<HEADER_LEN>()?, answer.get(tail_at..)?);
        if places.cookie.is_some() != has_cookie {
            return None;
        }
        let shared_at = tail_at - QUESTION_TAIL_LEN - suffix.wire().len();
        let pointers = places.pointers(answer)?.into_iter().map(|at| {
            let target = usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]) & 0x3FFF);
            // Whatever points to the beginning of the name is of that name alone. And pointers reach no further than 14 bits.
            let moves = target >= shared_at && target + crate::dns::name::NAME_LEN_MAX < 0x4000;
            moves.then(|| u16::try_from(at - tail_at).ok()).flatten()
        });
        Some(Shape {
            form: form_of(of),
            term: Term::new(now, keep.life),
            hits: 0,
            like: keep.like,
            header: *header,
            tail: tail.into(),
            pointers: pointers.collect::<Option<_>>()?,
            made_for: of.name.len(),
            nexts: keep.nexts.iter().cloned().collect(),
            cookie_at: places.cookie.map(|at| at - tail_at),
        })
    }
}

/// Labels right before `scope`'s shared end, of the names that an answer holds and could point to, in lower case.
pub fn nexts_of(scope: &Scope, sets: &[&[RrSet]]) -> Vec<Box<[u8]>> {
    let suffix = scope.suffix();
    let mut nexts: Vec<Box<[u8]>> = Vec::new();
    let mut add = |name: &Name| {
        if name.is_below(suffix)
            && let Some(label) = next_label(&name.wire().to_ascii_lowercase(), suffix.wire().len())
            && !nexts.iter().any(|known| **known == *label)
        {
            nexts.push(label.into());
        }
    };
    for set in sets.iter().copied().flatten() {
        add(&set.name);
        for data in &set.rdatas {
            match set.rtype {
                Rtype::NS => rdata::single_name(data).iter().for_each(&mut add),
                Rtype::SOA => {
                    let soa = Soa::parse(data);
                    soa.iter()
                        .for_each(|soa| [&soa.mname, &soa.rname].into_iter().for_each(&mut add));
                }
                _ => {}
            }
        }
    }
    nexts
}

/// The label of a wire name right before its last `suffix_len` octets.
fn next_label(name: &[u8], suffix_len: usize) -> Option<&[u8]> {
    let end = name.len().checked_sub(suffix_len)?;
    let mut at = 0;
    while at < end {
        let next = at + usize::from(name[at]) + 1;
        if next == end {
            return name.get(at + 1..next);
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn holds(scope: &Scope, text: &str, rtype: Rtype) -> bool {
        let (start, area) = Area::of(scope);
        let key = key_of(&name(text));
        key >= start && area.holds(&key, rtype)
    }

    // RFC 4034 section 6.1 for the order; RFC 4592 section 3.3.1 for the closest encloser.
    #[test]
    fn a_gap_holds_what_has_the_apex_as_encloser() {
        let gap = |from: &str, to: &str| Scope::Gap {
            apex: name("zone."),
            from: name(from),
            to: name(to),
        };
        let inner = gap("b.zone.", "a.f.zone.");
        for (asked, expected) in [
            ("c.zone.", true),
            ("C.ZONE.", true),
            ("x.y.d.zone.", true),
            // Neighbours, below them, and below the name that only has something below it.
            ("b.zone.", false),
            ("x.b.zone.", false),
            ("0.f.zone.", false),
            ("f.zone.", false),
            ("a.zone.", false),
            ("g.zone.", false),
            ("zone.", false),
            ("c.zones.", false),
            ("c.", false),
        ] {
            assert_eq!(holds(&inner, asked, Rtype::A), expected, "{asked}");
        }
        let first = gap("zone.", "b.zone.");
        assert!(holds(&first, "a.zone.", Rtype::A) && !holds(&first, "zone.", Rtype::A));
        let last = gap("y.zone.", "zone.");
        assert!(holds(&last, "z.zone.", Rtype::DS) && !holds(&last, "x.zonf.", Rtype::A));
        let all = Scope::Gap {
            apex: Name::root(),
            from: name("zw."),
            to: Name::root(),
        };
        assert!(holds(&all, "zzz.", Rtype::A) && !holds(&all, "a.", Rtype::A));
    }

    // RFC 4035 section 3.1.4.1 for DS.
    #[test]
    fn a_cut_holds_what_is_below_and_itself() {
        let cut = Scope::Cut(name("sub.zone."));
        for (asked, rtype, expected) in [
            ("sub.zone.", Rtype::A, true),
            ("sub.zone.", Rtype::DS, false),
            ("x.sub.zone.", Rtype::DS, true),
            ("a.b.SUB.zone.", Rtype::A, true),
            ("suc.zone.", Rtype::A, false),
            ("subs.zone.", Rtype::A, false),
            ("zone.", Rtype::A, false),
        ] {
            assert_eq!(holds(&cut, asked, rtype), expected, "{asked} {rtype}");
        }
    }

    // Whoever asks through a large zone makes neither the list long nor the octets many.
    #[test]
    fn areas_are_bounded_and_told_of_by_their_zone() {
        use crate::clock::Now;
        use crate::dns::Message;
        use crate::dns::message::MESSAGE_LEN_MAX;
        use std::time::Duration;

        let mut shapes = Shapes::new(64 << 20);
        let (now, zone) = (Now::new(Duration::ZERO, 100), name("zone."));
        let mut told = Vec::new();
        for n in 0..=AREAS_MAX {
            for flags in [0, 1] {
                let asked = name(&format!("n{n:05}x.zone."));
                let query = Message::query(7, Question::new(asked.clone(), Rtype::A));
                let answer = query.reply(Rcode::NXDOMAIN).encode(MESSAGE_LEN_MAX);
                let of = Identity {
                    name: asked.wire(),
                    rtype: Rtype::A,
                    flags,
                    rights: 3,
                    limit: 512,
                };
                let scope = Scope::Gap {
                    apex: zone.clone(),
                    from: name(&format!("n{n:05}.zone.")),
                    to: name(&format!("n{n:05}z.zone.")),
                };
                let keep = Keep::fixed(Kind::Mirror);
                let mut gone = |_, flags, zone: &Name, _| told.push((flags, zone.clone()));
                assert!(shapes.put(&of, &scope, &answer, &keep, now, Vec::new, &mut gone));
                let spot = shapes.seek(of.name, of.rtype).unwrap();
                assert!(shapes.find(spot, &of, now).is_some());
            }
        }
        // All but the last one had to go when it came.
        assert_eq!(shapes.gaps.len(), 1);
        assert_eq!(told.len(), 2 * AREAS_MAX);
        assert!(told.iter().all(|(flags, of)| *flags < 2 && *of == zone));
        let left: usize = shapes.gaps.iter().map(Area::bytes).sum();
        assert_eq!(shapes.bytes, left);
    }

    #[test]
    fn labels_before_the_shared_end_are_found() {
        let next = |text: &str, suffix: &str| {
            let wire = name(text).wire().to_vec();
            next_label(&wire, name(suffix).wire().len()).map(<[u8]>::to_vec)
        };
        assert_eq!(next("a.b.zone.", "zone."), Some(b"b".to_vec()));
        assert_eq!(next("b.zone.", "zone."), Some(b"b".to_vec()));
        assert_eq!(next("zone.", "zone."), None);
        assert_eq!(next("a.", "."), Some(b"a".to_vec()));
    }
}
