//! Seals: a checksum over the contents of a row, so that what was changed by something else than Zibrato is found even
//! where SQLite has no reason to doubt it.

/// The CRC-32 of parts, each with its length.
pub fn seal(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}
