//! The broker's sign of life.

use rmp::decode as de;
use zibrato_core::level;

/// Its whole topic, which is also the subscription.
pub(crate) fn topic() -> String {
    level::topic(level::BEAT)
}

/// The boot id of a beat `[version, boot, sent_at, …]`, or `None` where it is none of version 1.
pub(crate) fn boot(mut bytes: &[u8]) -> Option<[u8; 16]> {
    let b = &mut bytes;
    let items = de::read_array_len(b).ok()?;
    let version: u64 = de::read_int(b).ok()?;
    let length = de::read_bin_len(b).ok()?;
    let (boot, mut rest) = b.split_at_checked(length as usize)?;
    let _sent_at: u64 = de::read_int(&mut rest).ok()?;
    if items < 3 || version != 1 { None } else { boot.try_into().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmp::encode as en;

    fn beat(version: u64, boot: &[u8]) -> Vec<u8> {
        let mut b = Vec::new();
        en::write_array_len(&mut b, 3).unwrap();
        en::write_uint(&mut b, version).unwrap();
        en::write_bin(&mut b, boot).unwrap();
        en::write_uint(&mut b, u64::MAX).unwrap();
        b
    }

    #[test]
    fn reads_its_boot_id_and_nothing_else() {
        let whole = beat(1, &[7; 16]);
        assert_eq!(boot(&whole), Some([7; 16]));
        for cut in 0..whole.len() {
            assert_eq!(boot(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(boot(&beat(2, &[7; 16])), None);
        assert_eq!(boot(&beat(1, &[7; 15])), None);
    }
}
