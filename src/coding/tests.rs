//! What is encoded is decoded again, in whatever pieces, and never beyond the room that is given.

use proptest::prelude::*;

use super::*;

fn encoded(coding: Coding, pieces: &[Vec<u8>], flushed: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(coding, &Levels::default(), None).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        encoder.encode(piece, &mut out).unwrap();
        if flushed {
            encoder.flush(&mut out).unwrap();
        }
    }
    encoder.finish(&mut out).unwrap();
    out
}

/// Decodes in pieces of this size; `None` if it cannot be read, or does not end.
fn decoded(coding: Coding, input: &[u8], piece: usize, room: usize) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(coding).unwrap();
    let mut out = Vec::new();
    for mut piece in input.chunks(piece) {
        loop {
            let before = out.len();
            let step = decoder.step(&mut piece, &mut out, room).ok()?;
            assert!(out.len() - before <= room);
            if step == Step::Hungry {
                break;
            }
        }
    }
    decoder.may_end().then_some(out)
}

#[test]
fn a_flush_brings_out_all_that_went_in() {
    for coding in available() {
        let mut encoder = Encoder::new(coding, &Levels::default(), None).unwrap();
        let mut decoder = Decoder::new(coding).unwrap();
        for n in 0..5 {
            let (mut sent, mut read) = (Vec::new(), Vec::new());
            let text = format!("event {n}");
            encoder.encode(text.as_bytes(), &mut sent).unwrap();
            encoder.flush(&mut sent).unwrap();
            let length = sent.len();
            encoder.flush(&mut sent).unwrap();
            assert_eq!(sent.len(), length, "a second flush adds nothing");
            let mut sent = &sent[..];
            while decoder.step(&mut sent, &mut read, 64).unwrap() == Step::Full {}
            assert_eq!(read, text.as_bytes(), "{coding:?}");
        }
    }
}

#[test]
fn members_behind_each_other_are_one_content_but_in_br() {
    for coding in available() {
        let mut twice = encoded(coding, &[b"one, ".to_vec()], false);
        twice.extend(encoded(coding, &[b"two".to_vec()], false));
        let expected = (coding != Coding::Brotli).then(|| b"one, two".to_vec());
        assert_eq!(decoded(coding, &twice, 1, 64), expected, "{coding:?}");
        assert_eq!(decoded(coding, &twice, 1000, 3), expected, "{coding:?}");
    }
}

#[test]
fn content_that_breaks_off_or_is_damaged_does_not_end() {
    for coding in available() {
        let text: Vec<u8> = (0..4000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let whole = encoded(coding, &[text], false);
        for length in (0..whole.len()).step_by(61) {
            assert_eq!(
                decoded(coding, &whole[..length], 64, 4096),
                None,
                "{coding:?} {length}"
            );
        }
        assert!(
            decoded(coding, b"neither of them", 64, 64).is_none(),
            "{coding:?}"
        );
    }
}

#[test]
fn a_bomb_is_decoded_no_further_than_its_room() {
    for coding in available() {
        let zeros = vec![0; 1 << 20];
        let bomb = encoded(coding, &vec![zeros; 32], false);
        let mut decoder = Decoder::new(coding).unwrap();
        let (mut input, mut out) = (&bomb[..], Vec::new());
        for _ in 0..8 {
            out.clear();
            decoder.step(&mut input, &mut out, 4096).unwrap();
            assert!(out.len() <= 4096 && out.capacity() <= 8192, "{coding:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_encoded_is_decoded(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6),
        flushed in any::<bool>(),
        piece in 1_usize..5000,
        room in 1_usize..5000,
    ) {
        for coding in available() {
            let there = encoded(coding, &pieces, flushed);
            prop_assert_eq!(decoded(coding, &there, piece, room), Some(pieces.concat()));
        }
    }

    #[test]
    fn any_bytes_are_read_to_an_end_or_an_error(
        input in prop::collection::vec(any::<u8>(), 0..200),
        piece in 1_usize..50,
    ) {
        for coding in available() {
            decoded(coding, &input, piece, 64);
        }
    }
}
