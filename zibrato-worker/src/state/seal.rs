//! Seals: a checksum over the contents of each row, so that what was changed by something else than Zibrato is found
//! even where SQLite has no reason to doubt it.

use rusqlite::Connection;

/// The CRC-32 of parts, each with its length.
pub(super) fn seal(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()
}

/// Of a settled metric.
pub(super) fn settled_seal(key: &[u8], sequence: i64, state: &[u8], retired: Option<i64>) -> u32 {
    seal(&[key, &sequence.to_le_bytes(), state, &retired.unwrap_or(-1).to_le_bytes()])
}

/// Of the total of a series. When it was heard is not part of it.
pub(super) fn total_seal(series: &[u8], dealt: i64, measurement: &[u8]) -> u32 {
    seal(&[series, &dealt.to_le_bytes(), measurement])
}

/// What is sealed of an instance.
pub(super) struct OriginSeal {
    pub(super) instance: Vec<u8>,
    pub(super) level: String,
    pub(super) start: i64,
    pub(super) heard: i64,
    pub(super) sequence: i64,
    pub(super) points: Vec<u8>,
    pub(super) missed: i64,
}

impl OriginSeal {
    pub(super) fn read(db: &Connection, id: i64) -> rusqlite::Result<OriginSeal> {
        db.prepare_cached(
            "SELECT instance, level, start, heard, sequence, points, missed FROM origin WHERE id = ?",
        )?
        .query_row([id], |row| {
            Ok(OriginSeal {
                instance: row.get(0)?,
                level: row.get(1)?,
                start: row.get(2)?,
                heard: row.get(3)?,
                sequence: row.get(4)?,
                points: row.get(5)?,
                missed: row.get(6)?,
            })
        })
    }

    pub(super) fn seal(&self, amount: &[u8]) -> u32 {
        let numbers = [self.start, self.heard, self.sequence, self.missed];
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        seal(&[&self.instance, self.level.as_bytes(), &numbers, &self.points, amount])
    }
}

/// What is sealed of a batch. How often it was attempted is not part of it.
pub(super) struct OutboxSeal {
    pub(super) id: i64,
    pub(super) begin: i64,
    pub(super) time: i64,
    pub(super) measurements: Vec<u8>,
}

impl OutboxSeal {
    pub(super) fn read(db: &Connection, id: i64) -> rusqlite::Result<OutboxSeal> {
        db.prepare_cached("SELECT begin, time, measurements FROM outbox WHERE id = ?")?
            .query_row([id], |row| {
                Ok(OutboxSeal { id, begin: row.get(0)?, time: row.get(1)?, measurements: row.get(2)? })
            })
    }

    pub(super) fn seal(&self, amount: &[u8]) -> u32 {
        batch_seal([self.id, self.begin, self.time], &self.measurements, amount)
    }
}

/// Of a batch with this id, beginning and time.
pub(super) fn batch_seal(numbers: [i64; 3], measurements: &[u8], amount: &[u8]) -> u32 {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    seal(&[&numbers, measurements, amount])
}
