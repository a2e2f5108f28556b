//! `dlq discard`: writes down that dead letters are dealt with, or deletes the oldest.

use cybermesh_bridge::dlq::{Before, Begin, Desk, Journal, State, Step, Topics, delete, deletions};

use super::args::DiscardArgs;
use super::list::origin;
use super::words::{count, plain};
use super::{Folder, begin, print, read_failed};
use crate::failure::Failure;

/// Says what would be done, or does it.
pub(super) async fn run(args: &DiscardArgs, desk: &Desk, folder: &Folder) -> Result<(), Failure> {
    match args.before {
        Some(before) => delete_before(args, desk, folder, before).await,
        None => mark(args, desk, folder).await,
    }
}

async fn mark(args: &DiscardArgs, desk: &Desk, folder: &Folder) -> Result<(), Failure> {
    let topics = Topics::of(desk).await.map_err(Failure::cluster)?;
    let mut journal = match args.yes {
        true => Some(Journal::open(folder.hold().await?).map_err(Failure::usage)?),
        false => None,
    };
    let ledger = match &journal {
        Some(journal) => journal.ledger().clone(),
        None => folder.glance()?,
    };
    let filter = args.filter.filter(args.at);
    let mut entries = desk
        .entries(begin(&args.filter))
        .await
        .map_err(read_failed)?;
    let (mut found, mut discarded) = (0_u64, 0_u64);
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        if !filter.matches(desk, &entry) {
            continue;
        }
        found += 1;
        if State::of(&entry, &topics, &ledger).is_dealt_with() {
            continue;
        }
        discarded += 1;
        if let Some(journal) = &mut journal {
            let (topic_id, at) = (topics.dead_letters().to_owned(), entry.at);
            let step = Step::Discarded { topic_id, at };
            journal.write(step).await.map_err(Failure::no)?;
        }
        let what = match entry.letter() {
            Some(letter) => format!("{}  {}", letter.disposition(), origin(letter)),
            None => "no dead letter".to_owned(),
        };
        print(&plain(&format!("{:<8}  {what}", entry.at)))?;
    }
    if found == 0 && args.at.is_some() {
        return Err(Failure::no(
            "there is no such record in the dead-letter topic",
        ));
    }
    let letters = count(discarded, "dead letter", "dead letters");
    print(&match args.yes {
        true => format!("{letters} discarded"),
        false => format!("{letters} would be discarded (--yes does it)"),
    })
}

async fn delete_before(
    args: &DiscardArgs,
    desk: &Desk,
    folder: &Folder,
    before: Before,
) -> Result<(), Failure> {
    let topics = Topics::of(desk).await.map_err(Failure::cluster)?;
    let ledger = folder.glance()?;
    let deletions = deletions(desk, before).await.map_err(Failure::cluster)?;
    let mut open = 0_u64;
    let mut entries = desk.entries(Begin::Earliest).await.map_err(read_failed)?;
    while let Some(entry) = entries.next().await.map_err(read_failed)? {
        let goes = deletions.iter().any(|deletion| {
            deletion.partition.partition == entry.at.partition && entry.at.offset < deletion.before
        });
        let is_open = !State::of(&entry, &topics, &ledger).is_dealt_with();
        open += u64::from(goes && is_open);
    }
    let still = format!("{} of them not dealt with", open);
    for deletion in &deletions {
        let (partition, first, before) = (&deletion.partition, deletion.first, deletion.before);
        if args.yes {
            let first = delete(desk, deletion).await.map_err(Failure::cluster)?;
            print(&format!("{partition}: deleted, begins at {first} now"))?;
        } else {
            print(&format!(
                "{partition}: offsets {first} to {} would be deleted",
                before - 1
            ))?;
        }
    }
    let offsets: i64 = deletions
        .iter()
        .map(|deletion| deletion.before - deletion.first)
        .sum();
    print(&match args.yes {
        true => format!("{offsets} offsets deleted, {still}"),
        false => format!("{offsets} offsets would be deleted for good, {still} (--yes does it)"),
    })
}
