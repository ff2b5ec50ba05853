//! Z85, ZeroMQ's text for binary data (RFC 32): five characters for four bytes.

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The characters of whole groups of four bytes; what is left over has none.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 4 * 5);
    for group in bytes.as_chunks::<4>().0 {
        let value = u32::from_be_bytes(*group);
        for power in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            text.push(char::from(ALPHABET[(value / power % 85) as usize]));
        }
    }
    text
}

/// The bytes of `text`; `None` where it has another length than theirs, a character that is not of the alphabet, or a
/// group that stands for no four bytes.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (groups, rest) = text.as_bytes().as_chunks::<5>();
    if !rest.is_empty() || groups.len() * 4 != N {
        return None;
    }
    let mut bytes = [0; N];
    for (group, bytes) in groups.iter().zip(bytes.as_chunks_mut::<4>().0) {
        let mut value: u32 = 0;
        for &character in group {
            let digit = ALPHABET.iter().position(|&c| c == character)?;
            value = value.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        *bytes = value.to_be_bytes();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The test vectors of RFC 32.
    #[test]
    fn the_vectors_of_the_specification_hold() {
        let bytes = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
        assert_eq!(encode(&bytes), "HelloWorld");
        assert_eq!(decode("HelloWorld"), Some(bytes));
        let key = [
            0x8E, 0x0B, 0xDD, 0x69, 0x76, 0x28, 0xB9, 0x1D, 0x8F, 0x24, 0x55, 0x87, 0xEE, 0x95, 0xC5, 0xB0,
            0x4D, 0x48, 0x96, 0x3F, 0x79, 0x25, 0x98, 0x77, 0xB4, 0x9C, 0xD9, 0x06, 0x3A, 0xEA, 0xD3, 0xB7,
        ];
        assert_eq!(encode(&key), "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6");
        assert_eq!(decode("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"), Some(key));
    }

    #[test]
    fn what_stands_for_no_bytes_is_refused() {
        assert_eq!(decode::<4>("#####"), None, "beyond 32 bits");
        assert_eq!(decode("%nSc0"), Some([0xFF; 4]), "the last that fits");
        assert_eq!(decode::<4>("%nSc1"), None, "the first that does not");
        assert_eq!(decode::<4>("0000"), None);
        assert_eq!(decode::<4>("0000000000"), None);
        assert_eq!(decode::<4>("00 00"), None);
        assert_eq!(decode::<4>("00\u{e9}0"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: [u8; 32]) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "[0-9a-zA-Z.:+=^!/*?&<>()\\[\\]{}@%$#-]{10}") {
            if let Some(bytes) = decode::<8>(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text: String) {
            let _ = decode::<32>(&text);
        }
    }
}
