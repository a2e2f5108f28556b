//! Goes through the dead letters that are meant, and puts them back or says what it would do.
//!
//! The topic is read wholly first, to know which dead letters are about the same record, what was buried
//! again since, and what is meant. That is put back in the order the messages first had, so that a lane gets
//! them in its order again; and what is buried again meanwhile waits for the next run.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::appraise::{Judged, PutBack, appraise};
use super::copies::{Asker, Copies, is_before_order};
use super::desk::Desk;
use super::entry::{Entry, Position, Standing};
use super::filter::Filter;
use super::journal::{Ledger, SignedRedrive};
use super::original::{self, Origin};
use super::pace::Pace;
use super::plan::{Asked, Index, Refusal, admit};
use super::reader::{Begin, ReadError};
use super::redrive::{Outcome, Recovered, RedriveFault, Redriver};
use crate::clock::WallClock;

/// Those refused before their messages are looked for are told up to so many, and counted beyond: whoever may write to
/// the topic can make any number of them.
const MOST_TOLD: usize = 10_000;

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

impl Told {
    /// Whether nothing is wrong with it: see [`Refusal::is_left_alone`].
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        matches!(&self.fate, Fate::Left(refusal) if refusal.is_left_alone())
    }
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
    topic_id: String,
    index: Index,
    copies: Copies,
    /// Told before anything else.
    refused: VecDeque<Told>,
    untold: u64,
    letters: VecDeque<Position>,
    doing: Doing,
    waiting: VecDeque<Waiting>,
    totals: Totals,
    /// Nothing more is sent: the last one has not got through.
    is_halted: bool,
}

/// An original in hand.
#[derive(Debug)]
struct Waiting {
    letter: Position,
    topic: String,
    judged: Judged,
    /// Nobody judged its order, nor named it by itself.
    asks_for_copies: bool,
}

/// Whether anything is done.
#[derive(Debug)]
enum Doing {
    Nothing(Ledger),
    All(Box<Redriver>, Pace),
}

impl Batch {
    /// Reads the whole topic, and will go through what `filter` means. Nothing is done until
    /// [`doing`](Self::doing) is called.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn select(
        desk: Desk,
        clock: Arc<dyn WallClock>,
        filter: &Filter,
        asked: Asked,
        ledger: Ledger,
    ) -> Result<Self, ReadError> {
        let mut batch = Self {
            asked: Asked {
                one: filter.at.is_some(),
                ..asked
            },
            topic_id: desk.topic_id().await?,
            index: Index::default(),
            copies: Copies::default(),
            refused: VecDeque::new(),
            untold: 0,
            letters: VecDeque::new(),
            doing: Doing::Nothing(ledger),
            waiting: VecDeque::new(),
            totals: Totals::default(),
            is_halted: false,
            desk,
            clock,
        };
        let mut admitted: Vec<Meant> = Vec::new();
        let mut all = batch.desk.entries(Begin::Earliest).await?;
        while let Some(entry) = all.next().await? {
            batch.index.note(&entry);
            if batch.ledger().is_discarded(&batch.topic_id, entry.at) {
                batch.index.discard(&entry);
            }
            if filter.matches(&batch.desk, &entry)
                && let Some(meant) = batch.consider(&entry)
            {
                batch.ask_for_copies(&entry).await?;
                admitted.push(meant);
            }
        }
        batch.copies.look(&batch.desk, &batch.index).await?;
        admitted.sort_unstable();
        batch.letters = admitted.into_iter().map(|meant| meant.letter).collect();
        Ok(batch)
    }

    /// Takes note of a dead letter that is meant; gives it back where it may be put back.
    fn consider(&mut self, entry: &Entry) -> Option<Meant> {
        let admitted = admit(entry, &self.asked, self.is_discarded(entry)).map(|_| ());
        // Each would be looked for again, with all that a summary stands for.
        let earlier = self.index.earlier(entry).filter(|_| !self.asked.one);
        let admitted = match (admitted, earlier) {
            (Ok(()), Some(earlier)) => Err(Refusal::SameRecord(earlier)),
            (admitted, _) => admitted,
        };
        match admitted {
            Ok(()) => {
                let (topic, origin) = origin_of(entry)?;
                Some(Meant {
                    topic,
                    origin,
                    letter: entry.at,
                })
            }
            Err(refusal) => {
                let told = self.left(entry, refusal);
                // The others were not asked for, and may be many.
                let says = self.asked.one || !told.is_left_alone();
                if says && self.refused.len() == MOST_TOLD {
                    self.untold += 1;
                } else {
                    self.refused.extend(says.then_some(told));
                }
                None
            }
        }
    }

    /// Whose order was never judged is looked for in its partition, unless it was named by itself.
    async fn ask_for_copies(&mut self, entry: &Entry) -> Result<(), ReadError> {
        let Some(letter) = entry.letter().filter(|_| !self.asked.one) else {
            return Ok(());
        };
        if !is_before_order(letter) {
            return Ok(());
        }
        let group = self.asked.for_group.as_deref().or(letter.group());
        let asker = Asker {
            group: group.unwrap_or_default().to_owned(),
            is_signed: matches!(&entry.read, Ok(read) if matches!(read.standing, Standing::Signed(_))),
        };
        let topic = &letter.origin().topic;
        let originals = match original::copy_of(letter) {
            Some(copy) => vec![copy],
            None => match original::find(&self.desk, letter).await? {
                Origin::There(originals) => originals,
                _ => Vec::new(),
            },
        };
        for original in originals {
            self.copies
                .ask(topic, original.at, &original.hash(), &asker);
        }
        Ok(())
    }

    fn is_discarded(&self, entry: &Entry) -> bool {
        self.ledger().is_discarded(&self.topic_id, entry.at) || self.index.is_discarded(entry)
    }

    fn ledger(&self) -> &Ledger {
        match &self.doing {
            Doing::Nothing(ledger) => ledger,
            Doing::All(redriver, _) => redriver.ledger(),
        }
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
            if let Some(waiting) = self.waiting.pop_front() {
                return self.tell(waiting).await.map(Some);
            }
            if let Some(told) = self.refused.pop_front() {
                return Ok(Some(told));
            }
            let Some(at) = self.letters.pop_front() else {
                return Ok(None);
            };
            // Deleted meanwhile.
            let Some(entry) = self.desk.entry(at).await? else {
                continue;
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

    /// How many that were refused are counted without being told.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.untold
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

    /// Takes a dead letter in hand; tells of it at once where there is nothing to put back.
    async fn take(&mut self, entry: &Entry) -> Result<Option<Told>, RedriveFault> {
        let is_discarded = self.is_discarded(entry);
        let now_ms = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        let known = (&self.index, self.ledger());
        let appraisal =
            appraise(&self.desk, entry, &self.asked, known, is_discarded, now_ms).await?;
        if let Some(refusal) = appraisal.refusal {
            return Ok(Some(self.left(entry, refusal)));
        }
        let letter = entry.letter();
        let topic = letter.map(|letter| letter.origin().topic.clone());
        let topic = topic.unwrap_or_default();
        let asks_for_copies = !self.asked.one && letter.is_some_and(is_before_order);
        let judged = appraisal.originals.into_iter();
        self.waiting.extend(judged.map(|judged| Waiting {
            letter: entry.at,
            topic: topic.clone(),
            judged,
            asks_for_copies,
        }));
        Ok(None)
    }

    fn left(&mut self, entry: &Entry, refusal: Refusal) -> Told {
        self.count_left(&refusal);
        Told {
            letter: entry.at,
            origin: origin_of(entry),
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

    async fn tell(&mut self, waiting: Waiting) -> Result<Told, RedriveFault> {
        let (letter, topic, judged) = (waiting.letter, waiting.topic, waiting.judged);
        let (at, hash) = (judged.original.at, judged.original.hash());
        let this = (topic.as_str(), at, &hash);
        let is_copied = |copies: &Copies, put_back: &PutBack| match waiting.asks_for_copies {
            true => copies.judge(this, &put_back.group),
            false => Ok(()),
        };
        let mut decision = judged.decision;
        if let Ok(put_back) = &decision
            && let Err(refusal) = is_copied(&self.copies, put_back)
        {
            decision = Err(refusal);
        }
        if let (Ok(put_back), Doing::All(_, pace)) = (&decision, &mut self.doing) {
            sleep_until(pace.next(Instant::now())).await;
            // Whoever sees what is put back could copy what is still to come.
            if waiting.asks_for_copies {
                let (desk, index) = (&self.desk, &self.index);
                self.copies.look_again(desk, index, this).await?;
            }
            if let Err(refusal) = is_copied(&self.copies, put_back) {
                decision = Err(refusal);
            }
        }
        let fate = match decision {
            Err(refusal) => {
                self.count_left(&refusal);
                Fate::Left(refusal)
            }
            Ok(put_back) => match &mut self.doing {
                Doing::Nothing(_) => {
                    self.totals.redriven += 1;
                    Fate::Would(put_back)
                }
                Doing::All(redriver, _) => {
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

/// A dead letter that may be put back, by the place of its message.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Meant {
    topic: String,
    origin: Position,
    letter: Position,
}

fn origin_of(entry: &Entry) -> Option<(String, Position)> {
    let origin = entry.letter()?.origin();
    let at = Position {
        partition: origin.partition?,
        offset: origin.offset?,
    };
    Some((origin.topic.clone(), at))
}
