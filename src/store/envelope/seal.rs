//! Sealed envelopes: AES-256-GCM over the content.
//!
//! A seal is bound to the place in Redis and to the header, so a value cannot be moved under
//! another key. The first key seals, all of them open: to rotate, put the new key first, and drop
//! the old one when nothing it sealed is fresh any more.

use bytes::{Bytes, BytesMut};
use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey, AES_256_GCM, NONCE_LEN};
use ring::rand::{SecureRandom, SystemRandom};

use super::{content, header, Odd, HEADER, SEALED};
use crate::policy::stored::StoredResponse;

/// The keys of one cache. Nonces are random: one key is good for some 2^32 responses.
pub(crate) struct Sealing {
    /// By their ids; the first one seals.
    keys: Vec<(u8, LessSafeKey)>,
    random: SystemRandom,
}

impl Sealing {
    /// `None` without a key, or when two have one id.
    pub(crate) fn new(keys: &[(u8, [u8; 32])]) -> Option<Self> {
        let distinct = |i: usize, id: u8| keys[..i].iter().all(|(other, _)| *other != id);
        let keys = keys
            .iter()
            .enumerate()
            .map(|(i, (id, key))| {
                let unbound = UnboundKey::new(&AES_256_GCM, key).ok()?;
                distinct(i, *id).then(|| (*id, LessSafeKey::new(unbound)))
            })
            .collect::<Option<Vec<_>>>()?;
        (!keys.is_empty()).then(|| Self {
            keys,
            random: SystemRandom::new(),
        })
    }

    pub(super) fn seal(&self, place: &[u8], stored: &StoredResponse) -> Option<Vec<u8>> {
        let (id, key) = self.keys.first()?;
        let header = header(SEALED, *id);
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;

        let start = HEADER + NONCE_LEN;
        let tag_length = AES_256_GCM.tag_len();
        let mut bytes = Vec::with_capacity(start + content::length(stored) + tag_length);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&nonce);
        content::write(stored, &mut bytes)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(bound_to(place, header));
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, &mut bytes[start..])
            .ok()?;
        bytes.extend_from_slice(tag.as_ref());
        Some(bytes)
    }

    /// The content alone.
    pub(super) fn unseal(
        &self,
        place: &[u8],
        header: [u8; HEADER],
        bytes: Bytes,
    ) -> Result<Bytes, Odd> {
        let id = header[6];
        let (_, key) = self
            .keys
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(Odd::Sealing)?;
        let nonce = bytes.get(HEADER..HEADER + NONCE_LEN).ok_or(Odd::Corrupt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Odd::Corrupt)?;
        // What was received belongs to nobody else, so this copies nothing.
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|b| BytesMut::from(&*b));
        let mut sealed = bytes.split_off(HEADER + NONCE_LEN);
        let aad = Aad::from(bound_to(place, header));
        let opened = key
            .open_in_place(nonce, aad, &mut sealed)
            .map_err(|_| Odd::Corrupt)?
            .len();
        sealed.truncate(opened);
        Ok(sealed.freeze())
    }
}

fn bound_to(place: &[u8], header: [u8; HEADER]) -> Vec<u8> {
    [&header[..], place].concat()
}
