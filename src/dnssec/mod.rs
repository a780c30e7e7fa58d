//! DNSSEC as pure functions: signatures, canonical form, denial arithmetic, ZONEMD.
//!
//! Two parts of the program judge signed data: `resolve::validate` one answer at a time, and
//! `mirror::verify` a whole zone. What both need stands here, without a notion of where the data came
//! from. Nothing in this module decides a policy: the callers choose which algorithms count
//! ([`algorithms`]), at what time a signature must be valid, and how much work a packet may cause.
//!
//! ```text
//! anchor -- ds_matches --> DNSKEY -- verify_rrset --> RRset        (verify over canonical)
//!                                                     NSEC/NSEC3   (nsec, nsec3: what they prove)
//!                                                     ZONEMD       (zonemd: the digest of a zone)
//! ```
//! Damaged data is an error or a `false`, never a panic; the work of each call is linear in its input
//! but for the NSEC3 hash, whose rounds the caller bounds.

pub mod algorithms;
pub mod canonical;
pub mod ds;
pub mod nsec;
pub mod nsec3;
pub mod nxdomain;
pub mod verify;
pub mod zonemd;
