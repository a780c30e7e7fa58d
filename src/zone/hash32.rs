//! NSEC3 owner names and their sort keys: one base32hex label below the apex.

use super::key::push_label;
use crate::dns::Name;
use crate::dnssec::nsec3::{Hash, LABEL_LEN, hash_label, label_hash};

/// The hash whose owner name has this sort key: one label below the apex.
pub fn hash_of_key(key: &[u8]) -> Option<Hash> {
    label_hash(key.strip_suffix(&[0])?)
}

/// The sort key of the owner of a hash; of octets that are no hash, themselves.
pub fn key_of_hash(hash: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(LABEL_LEN + 1);
    match hash.try_into() {
        Ok(hash) => push_label(&mut key, &hash_label(hash)),
        Err(_) => key.extend_from_slice(hash),
    }
    key
}

/// The owner name of a hash in the zone at `apex`.
pub fn owner(hash: &Hash, apex: &Name) -> Option<Name> {
    apex.child(&hash_label(hash)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spell_hashes() {
        let hash = [0xA5; 20];
        let apex = "example.".parse().unwrap();
        let key = key_of_hash(&hash);
        assert_eq!(hash_of_key(&key), Some(hash));
        assert_eq!(
            super::super::key::key_of(&owner(&hash, &apex).unwrap(), &apex),
            Some(key)
        );
        assert_eq!(hash_of_key(b"0p9m\0"), None);
        assert_eq!(key_of_hash(b"short"), b"short");
    }
}
