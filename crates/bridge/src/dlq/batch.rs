//! Goes through the dead letters that are meant, and puts them back or says what it would do.
//!
//! The topic is read twice: first wholly, to know which dead letters are about the same record and what was
//! buried again since, then again for what is meant, up to where it ended the first time. So what a run puts
//! back and is buried again meanwhile waits for the next run.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::appraise::{Judged, PutBack, appraise};
use super::desk::{Desk, Entries};
use super::entry::{Entry, Position};
use super::filter::Filter;
use super::journal::{Ledger, SignedRedrive};
use super::pace::Pace;
use super::plan::{Asked, Index, Refusal, admit};
use super::reader::{Begin, Ends, ReadError};
use super::redrive::{Outcome, Recovered, RedriveFault, Redriver};
use crate::clock::WallClock;

/// What became of one original, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It would be put back.
    Would(PutBack),
    /// It was put back, or not.
    Did(PutBack, Outcome),
    /// It is not put back.
    Left(Refusal),
}

/// One original, or a dead letter that has none, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The dead letter.
    pub letter: Position,
    /// The topic of the original, and where it was.
    pub origin: Option<(String, Position)>,
    /// What became of it.
    pub fate: Fate,
}

/// How many ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Put back, or, where nothing is done, would be.
    pub redriven: u64,
    /// Dealt with already, or not asked for.
    pub left_alone: u64,
    /// Refused, by us or by the broker.
    pub refused: u64,
    /// Of unknown outcome.
    pub unknown: u64,
}

/// One run through the dead letters that are meant.
#[derive(Debug)]
pub struct Batch {
    desk: Desk,
    clock: Arc<dyn WallClock>,
    asked: Asked,
    filter: Filter,
    topic_id: String,
    index: Index,
    ends: Ends,
    letters: Letters,
    doing: Doing,
    waiting: VecDeque<(Position, String, Judged)>,
    totals: Totals,
    /// Nothing more is sent: the last one has not got through.
    is_halted: bool,
}

#[derive(Debug)]
enum Letters {
    One(Option<Position>),
    All(Box<Entries>),
}

/// Whether anything is done.
#[derive(Debug)]
enum Doing {
    Nothing(Ledger),
    All(Box<Redriver>, Pace),
}

impl Batch {
    /// Reads the whole topic, and will go through what `filter` means of it from `begin` on. Nothing is done until
    /// [`doing`](Self::doing) is called.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn select(
        desk: Desk,
        clock: Arc<dyn WallClock>,
        begin: Begin,
        filter: Filter,
        asked: Asked,
        ledger: Ledger,
    ) -> Result<Self, ReadError> {
        let topic_id = desk.topic_id().await?;
        let mut index = Index::default();
        let mut all = desk.entries(Begin::Earliest).await?;
        while let Some(entry) = all.next().await? {
            index.note(&entry);
        }
        let letters = match filter.at {
            Some(at) => Letters::One(Some(at)),
            None => Letters::All(Box::new(desk.entries(begin).await?)),
        };
        Ok(Self {
            ends: all.ends().clone(),
            asked: Asked {
                one: filter.at.is_some(),
                ..asked
            },
            letters,
            doing: Doing::Nothing(ledger),
            waiting: VecDeque::new(),
            totals: Totals::default(),
            is_halted: false,
            desk,
            clock,
            filter,
            topic_id,
            index,
        })
    }

    /// Puts back what is to be put back, `per_second` of it, by its journal. What earlier runs left unknown
    /// is found out first.
    ///
    /// # Errors
    /// [`RedriveFault`].
    pub async fn doing(
        &mut self,
        mut redriver: Redriver,
        per_second: u32,
    ) -> Result<Vec<(SignedRedrive, Recovered)>, RedriveFault> {
        let recovered = redriver.recover().await?;
        self.is_halted = recovered.last().is_some_and(|(_, end)| {
            matches!(
                end,
                Recovered::SentAgain(Outcome::Unknown(_) | Outcome::NotWritten(_))
            )
        });
        self.doing = Doing::All(Box::new(redriver), Pace::new(per_second));
        Ok(recovered)
    }

    /// What became of the next one; `None` when all were gone through, or nothing more gets through.
    ///
    /// # Errors
    /// [`RedriveFault`]: it ends there, and a later run goes on.
    pub async fn next(&mut self) -> Result<Option<Told>, RedriveFault> {
        loop {
            if self.is_halted {
                return Ok(None);
            }
            if let Some((letter, topic, judged)) = self.waiting.pop_front() {
                return self.tell(letter, topic, judged).await.map(Some);
            }
            let Some(entry) = self.entry().await? else {
                return Ok(None);
            };
            if let Some(told) = self.take(&entry).await? {
                return Ok(Some(told));
            }
        }
    }

    /// How many ended how so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether it ended early, since something did not get through.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.is_halted
    }

    /// Ends it.
    pub async fn close(self, deadline: Instant) {
        if let Doing::All(redriver, _) = self.doing {
            redriver.close(deadline).await;
        }
    }

    async fn entry(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let found = match &mut self.letters {
                Letters::One(at) => match at.take() {
                    Some(at) => self.desk.entry(at).await?,
                    None => None,
                },
                Letters::All(entries) => entries.next().await?,
            };
            let Some(entry) = found else {
                return Ok(None);
            };
            if self.ends.had(entry.at) && self.filter.matches(&self.desk, &entry) {
                return Ok(Some(entry));
            }
        }
    }

    /// Takes a dead letter in hand; tells of it at once where there is nothing to put back.
    async fn take(&mut self, entry: &Entry) -> Result<Option<Told>, RedriveFault> {
        let ledger = match &self.doing {
            Doing::Nothing(ledger) => ledger,
            Doing::All(redriver, _) => redriver.ledger(),
        };
        let is_discarded = ledger.is_discarded(&self.topic_id, entry.at);
        if let Err(refusal) = admit(entry, &self.asked, is_discarded) {
            return Ok(Some(self.left(entry, refusal)));
        }
        let now_ms = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        let known = (&self.index, ledger);
        let appraisal =
            appraise(&self.desk, entry, &self.asked, known, is_discarded, now_ms).await?;
        if let Some(refusal) = appraisal.refusal {
            return Ok(Some(self.left(entry, refusal)));
        }
        let topic = entry.letter().map(|letter| letter.origin().topic.clone());
        let topic = topic.unwrap_or_default();
        let judged = appraisal.originals.into_iter();
        self.waiting
            .extend(judged.map(|judged| (entry.at, topic.clone(), judged)));
        Ok(None)
    }

    fn left(&mut self, entry: &Entry, refusal: Refusal) -> Told {
        self.count_left(&refusal);
        let origin = entry.letter().and_then(|letter| {
            let origin = letter.origin();
            let at = Position {
                partition: origin.partition?,
                offset: origin.offset?,
            };
            Some((origin.topic.clone(), at))
        });
        Told {
            letter: entry.at,
            origin,
            fate: Fate::Left(refusal),
        }
    }

    fn count_left(&mut self, refusal: &Refusal) {
        if refusal.is_left_alone() {
            self.totals.left_alone += 1;
        } else {
            self.totals.refused += 1;
        }
    }

    async fn tell(
        &mut self,
        letter: Position,
        topic: String,
        judged: Judged,
    ) -> Result<Told, RedriveFault> {
        let fate = match judged.decision {
            Err(refusal) => {
                self.count_left(&refusal);
                Fate::Left(refusal)
            }
            Ok(put_back) => match &mut self.doing {
                Doing::Nothing(_) => {
                    self.totals.redriven += 1;
                    Fate::Would(put_back)
                }
                Doing::All(redriver, pace) => {
                    sleep_until(pace.next(Instant::now())).await;
                    let outcome = redriver
                        .put_back(letter, &topic, &judged.original, &put_back)
                        .await?;
                    match &outcome {
                        Outcome::Acknowledged(_) => self.totals.redriven += 1,
                        Outcome::Refused(_) => self.totals.refused += 1,
                        Outcome::NotWritten(_) => {
                            self.totals.refused += 1;
                            self.is_halted = true;
                        }
                        Outcome::Unknown(_) => {
                            self.totals.unknown += 1;
                            self.is_halted = true;
                        }
                    }
                    Fate::Did(put_back, outcome)
                }
            },
        };
        Ok(Told {
            letter,
            origin: Some((topic, judged.original.at)),
            fate,
        })
    }
}
