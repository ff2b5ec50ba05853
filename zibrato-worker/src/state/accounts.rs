//! Accounts: what was settled and what became of it, moved in the transactions that move the data itself.
//!
//! | always | is |
//! |---|---|
//! | `rows` | the sum of all settled totals on the disk |
//! | `happened` | `left_out` + `settled` |
//! | `settled` | `accepted` + `refused` + `lost` + what waits in the outbox |
//!
//! Of datapoints, `merged` ones are gone as well: unsent batches were made one. Of a backend that is told totals only
//! datapoints are counted after `happened`, because totals do not add up.

use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, params};
use zibrato_disk::seal;

use super::State;
use crate::account::Amount;
use crate::error::Error;

macro_rules! accounts {
    ($($(#[$doc:meta])* $account:ident: $name:ident,)*) => {
        /// One account.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Account {
            $($(#[$doc])* $account,)*
        }

        impl Account {
            fn name(self) -> &'static str {
                match self {
                    $(Account::$account => stringify!($name),)*
                }
            }
        }

        /// The accounts of a state directory since it was made.
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        #[non_exhaustive]
        pub struct Accounts {
            $($(#[$doc])* pub $name: Amount,)*
        }

        impl Accounts {
            pub(super) fn read(db: &Connection) -> rusqlite::Result<Accounts> {
                Ok(Accounts { $($name: get(db, Account::$account)?,)* })
            }

            /// The accounts, and the names of those that are not what was written.
            pub(super) fn read_any(db: &Connection) -> rusqlite::Result<(Accounts, Vec<&'static str>)> {
                let (mut all, mut wrong) = (Accounts::default(), Vec::new());
                $(match get(db, Account::$account) {
                    Ok(amount) => all.$name = amount,
                    Err(why) if zibrato_disk::is_damage(&why) => wrong.push(stringify!($name)),
                    Err(why) => return Err(why),
                })*
                Ok((all, wrong))
            }

            /// The accounts that are what was written, and the one that is not; `None` where more are not.
            fn read_but_one(db: &Connection) -> Option<(Accounts, Option<Account>)> {
                let mut missing = Vec::new();
                let mut read = |account| get(db, account).unwrap_or_else(|_| {
                    missing.push(account);
                    Amount::default()
                });
                let accounts = Accounts { $($name: read(Account::$account),)* };
                (missing.len() < 2).then(|| (accounts, missing.pop()))
            }

            pub(super) fn write(&self, db: &Connection) -> rusqlite::Result<()> {
                $(set(db, Account::$account, self.$name)?;)*
                Ok(())
            }

            /// The accounts with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, Amount)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

accounts! {
    /// The settled totals of all instances that are not forgotten.
    Rows: rows,
    /// What instances had counted before the worker listened, and is taken as settled.
    Baseline: baseline,
    /// What happened to metrics since.
    Happened: happened,
    /// What of it the worker's filters leave out.
    LeftOut: left_out,
    /// What became batches, or dead letters at once.
    Settled: settled,
    /// What the backend accepted.
    Accepted: accepted,
    /// What became dead letters.
    Refused: refused,
    /// Datapoints that are gone because unsent batches were made one.
    Merged: merged,
    /// Batches that could not be read any more.
    Lost: lost,
}

impl Accounts {
    /// What must be waiting.
    pub fn waiting(&self) -> Amount {
        self.settled.minus(self.accepted).minus(self.refused).minus(self.merged).minus(self.lost)
    }
}

/// The accounts of a damaged database.
pub(super) struct Rescued {
    accounts: Accounts,
    /// The one that is not what was written.
    missing: Option<Account>,
}

impl Rescued {
    /// All of them, but one at most, which follows from the others.
    pub(super) fn read(db: &Connection) -> Option<Rescued> {
        Accounts::read_but_one(db).map(|(accounts, missing)| Rescued { accounts, missing })
    }

    /// What all settled totals must add up to, if that is known.
    pub(super) fn rows(&self) -> Option<Amount> {
        (self.missing != Some(Account::Rows)).then_some(self.accounts.rows)
    }

    fn is_waiting_known(&self) -> bool {
        use Account::{Accepted, Lost, Merged, Refused, Settled};
        !matches!(self.missing, Some(Settled | Accepted | Refused | Merged | Lost))
    }

    /// Whether nothing speaks against this being all that waits.
    pub(super) fn agree(&self, waiting: Amount) -> bool {
        !self.is_waiting_known() || self.accounts.waiting().is_equal(waiting)
    }

    /// The accounts, of which so much waits.
    pub(super) fn completed(self, waiting: Amount) -> Accounts {
        let mut all = self.accounts;
        let more = all.waiting().minus(waiting);
        match self.missing {
            Some(Account::Settled) => all.settled = all.settled.minus(more),
            Some(Account::Accepted) => all.accepted = more,
            Some(Account::Refused) => all.refused = more,
            Some(Account::Merged) => all.merged = more,
            Some(Account::Lost) => all.lost = more,
            Some(Account::Happened) => all.happened = all.left_out.plus(all.settled).sums(),
            Some(Account::LeftOut) => all.left_out = all.happened.minus(all.settled).sums(),
            Some(Account::Rows | Account::Baseline) | None => {}
        }
        all
    }
}

/// Whether the backend is told totals.
pub(super) fn is_cumulative(db: &Connection) -> rusqlite::Result<bool> {
    Ok(super::meta::<String>(db, "temporality")?.is_some_and(|is| is == "cumulative"))
}

pub(super) fn get(db: &Connection, account: Account) -> rusqlite::Result<Amount> {
    let found: Option<(Vec<u8>, u32)> = db
        .prepare_cached("SELECT amount, seal FROM account WHERE name = ?")?
        .query_row([account.name()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found
        .filter(|(amount, sealed)| seal(&[account.name().as_bytes(), amount]) == *sealed)
        .and_then(|(amount, _)| Amount::decode(&amount))
        .ok_or_else(|| {
            zibrato_disk::corrupt(format!("the account {} is not what was written", account.name()))
        })
}

fn set(db: &Connection, account: Account, amount: Amount) -> rusqlite::Result<()> {
    let amount = amount.encode();
    let sealed = seal(&[account.name().as_bytes(), &amount]);
    db.prepare_cached("INSERT OR REPLACE INTO account (name, amount, seal) VALUES (?, ?, ?)")?
        .execute(params![account.name(), amount, sealed])
        .map(drop)
}

/// Adds to an account, in the transaction that moves the data.
pub(super) fn add(db: &Connection, account: Account, more: Amount) -> rusqlite::Result<()> {
    if more == Amount::default() {
        return Ok(());
    }
    set(db, account, get(db, account)?.plus(more))
}

/// What is in all batches of the outbox, as was noted when they were written.
pub(super) fn waiting(db: &Connection) -> rusqlite::Result<Amount> {
    let mut read = db.prepare_cached("SELECT amount FROM outbox")?;
    let amounts = read.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut all = Amount::default();
    for amount in amounts {
        all = all.plus(Amount::decode(&amount?).unwrap_or_default());
    }
    Ok(all)
}

impl State {
    /// The accounts.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn accounts(&self) -> Result<Accounts, Error> {
        Accounts::read(&self.lock()).map_err(self.failed("read"))
    }

    /// Says where the outbox is not what the accounts say.
    pub(super) fn check_accounts(&self) -> Result<(), Error> {
        let db = self.lock();
        let read = || Ok((Accounts::read(&db)?.waiting(), waiting(&db)?));
        let (expected, found) = read().map_err(self.failed("read"))?;
        if !expected.is_equal(found) {
            self.0.lacks_batches.store(true, Ordering::Relaxed);
            tracing::error!(
                database = %self.0.database.display(), ?expected, ?found,
                "the outbox is not what was settled less what was accepted or refused; `zibrato audit` tells more"
            );
        }
        Ok(())
    }
}
