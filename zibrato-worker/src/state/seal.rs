//! Seals: a checksum over the contents of each row, so that what was changed by something else than Zibrato is found
//! even where SQLite has no reason to doubt it.

use rusqlite::Connection;
use rusqlite::types::Value;
use zibrato_disk::seal;

/// Of something that is noted under a name.
pub(super) fn meta_seal(name: &str, value: &Value) -> u32 {
    let (kind, bytes): (u8, &[u8]) = match value {
        Value::Null => (0, &[]),
        Value::Integer(number) => (1, &number.to_le_bytes()),
        Value::Real(number) => (2, &number.to_le_bytes()),
        Value::Text(text) => (3, text.as_bytes()),
        Value::Blob(bytes) => (4, bytes),
    };
    seal(&[name.as_bytes(), &[kind], bytes])
}

/// Of since when a level has been listened to.
pub(super) fn since_seal(level: &str, at: Option<i64>) -> u32 {
    seal(&[level.as_bytes(), &[u8::from(at.is_some())], &at.unwrap_or(0).to_le_bytes()])
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

/// What is sealed of a batch.
pub(super) struct OutboxSeal {
    /// Id, beginning, time and how often it was attempted.
    pub(super) numbers: [i64; 4],
    pub(super) measurements: Vec<u8>,
}

impl OutboxSeal {
    pub(super) fn read(db: &Connection, id: i64) -> rusqlite::Result<OutboxSeal> {
        db.prepare_cached("SELECT begin, time, attempts, measurements FROM outbox WHERE id = ?")?.query_row(
            [id],
            |row| {
                let numbers = [id, row.get(0)?, row.get(1)?, row.get(2)?];
                Ok(OutboxSeal { numbers, measurements: row.get(3)? })
            },
        )
    }

    pub(super) fn seal(&self, amount: &[u8]) -> u32 {
        batch_seal(self.numbers, &self.measurements, amount)
    }
}

/// Of a batch with this id, beginning and time, that was attempted so often: one that never was may be merged with
/// others.
pub(super) fn batch_seal(numbers: [i64; 4], measurements: &[u8], amount: &[u8]) -> u32 {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    seal(&[&numbers, measurements, amount])
}

/// The same in version 2, which did not seal how often a batch was attempted.
pub(super) fn second_batch_seal(numbers: &[i64; 4], measurements: &[u8], amount: &[u8]) -> u32 {
    let numbers: Vec<u8> = numbers[..3].iter().flat_map(|number| number.to_le_bytes()).collect();
    seal(&[&numbers, measurements, amount])
}
