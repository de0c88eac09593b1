//! The original evento, as its README says, for the comparison in bench/peer_rust_test.go.
//!
//! Usage: peer sqlite:FILE | postgres:URL
//!
//! It reads one command a line and answers with one line: the seconds that the command took
//! and what it counted, or "error" and a text. Its first answer says that the store is open.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evento::metadata::Event;
use evento::migrator::{Migrate, Plan};
use evento::projection::Projection;
use evento::subscription::{Context, SubscriptionBuilder};
use evento::Executor;
use tokio::sync::mpsc;

#[evento::aggregate(name = "bank/Account")]
pub enum Account {
    MoneyDeposited { amount: i64, text: String },
}

fn payload() -> MoneyDeposited {
    MoneyDeposited { amount: 100, text: "x".repeat(270) }
}

#[evento::projection]
#[evento::snapshot(none)]
pub struct Balance {
    pub amount: i64,
}

#[evento::handler]
async fn add(event: Event<MoneyDeposited>, balance: &mut Balance) -> anyhow::Result<()> {
    balance.amount += event.data.amount;
    Ok(())
}

type Handled = mpsc::UnboundedSender<(String, Instant)>;

#[evento::subscription]
async fn tell<E: Executor>(ctx: &Context<'_, E>, event: Event<MoneyDeposited>) -> anyhow::Result<()> {
    let handled: Handled = ctx.extract();
    handled.send((event.id.to_string(), Instant::now()))?;
    Ok(())
}

#[evento::subscription]
async fn count<E: Executor>(ctx: &Context<'_, E>, event: Event<MoneyDeposited>) -> anyhow::Result<()> {
    let counted: Arc<Mutex<usize>> = ctx.extract();
    *counted.lock().unwrap() += usize::from(event.data.amount == 100);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: peer sqlite:FILE | postgres:URL")?;
    if url.starts_with("sqlite:") {
        use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
        let options = url
            .parse::<SqliteConnectOptions>()?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = SqlitePoolOptions::new().connect_with(options).await?;
        let mut conn = pool.acquire().await?;
        evento::sql_migrator::new::<sqlx::Sqlite>()?.run(&mut *conn, &Plan::apply_all()).await?;
        drop(conn);
        serve(evento::Sqlite::from(pool)).await
    } else {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(64).connect(&url).await?;
        let mut conn = pool.acquire().await?;
        evento::sql_migrator::new::<sqlx::Postgres>()?.run(&mut *conn, &Plan::apply_all()).await?;
        drop(conn);
        serve(evento::Postgres::from(pool)).await
    }
}

async fn serve<E: Executor + Clone + 'static>(ex: E) -> anyhow::Result<()> {
    answer("open")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers = words[1..].iter().map(|w| w.parse()).collect::<Result<Vec<usize>, _>>()?;
        let result = match (words[0], numbers.as_slice()) {
            ("append", &[writers, commits, events]) => append(&ex, writers, commits, events).await,
            ("load", &[loads, events]) => load(&ex, loads, events).await,
            ("catchup", &[events]) => catch_up(&ex, events).await,
            ("latency", &[commits]) => latency(&ex, commits).await,
            ("deliver", &[writers, commits]) => deliver(&ex, writers, commits).await,
            _ => Err(anyhow::anyhow!("unknown command {line}")),
        };
        answer(&result.unwrap_or_else(|err| format!("error {err:?}").replace('\n', " ")))?;
    }
    Ok(())
}

fn answer(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Writers make new aggregates, and then commits of some events each.
async fn write<E: Executor + Clone + 'static>(ex: &E, writers: usize, commits: usize, events: usize) -> anyhow::Result<Duration> {
    let mut ids = Vec::new();
    for _ in 0..writers {
        ids.push(evento::create().event(&payload()).commit(ex).await?);
    }
    let began = Instant::now();
    let tasks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let ex = ex.clone();
            tokio::spawn(async move {
                for i in 0..commits / writers {
                    let mut write = evento::append(&id);
                    write.original_version(u16::try_from(1 + i * events)?);
                    for _ in 0..events {
                        write.event(&payload());
                    }
                    write.commit(&ex).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(began.elapsed())
}

async fn append<E: Executor + Clone + 'static>(ex: &E, writers: usize, commits: usize, events: usize) -> anyhow::Result<String> {
    Ok(write(ex, writers, commits, events).await?.as_secs_f64().to_string())
}

async fn load<E: Executor + Clone + 'static>(ex: &E, loads: usize, events: usize) -> anyhow::Result<String> {
    let mut write = evento::create();
    for _ in 0..events {
        write.event(&payload());
    }
    let id = write.commit(ex).await?;
    let began = Instant::now();
    for _ in 0..loads {
        let balance: Option<Balance> = Projection::<_, Balance>::new::<Account>().handler(add()).load(&id).execute(ex).await?;
        anyhow::ensure!(balance.context("nothing loaded")?.amount == 100 * events as i64);
    }
    Ok(began.elapsed().as_secs_f64().to_string())
}

/// A new subscription handles what there is. What is younger than the second that it leaves
/// alone gets older first.
async fn catch_up<E: Executor + Clone + 'static>(ex: &E, events: usize) -> anyhow::Result<String> {
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let counted = Arc::new(Mutex::new(0));
    let began = Instant::now();
    SubscriptionBuilder::new(new_key("catchup")).handler(count()).data(counted.clone()).run_once(ex).await?;
    let took = began.elapsed();
    let counted = *counted.lock().unwrap();
    anyhow::ensure!(counted >= events, "{counted} of {events} events");
    Ok(took.as_secs_f64().to_string())
}

/// From the end of a commit to the handler, in milliseconds.
async fn latency<E: Executor + Clone + 'static>(ex: &E, commits: usize) -> anyhow::Result<String> {
    let (handled, mut got) = mpsc::unbounded_channel();
    let subscription =
        SubscriptionBuilder::new(new_key("latency")).handler(tell()).data::<Handled>(handled).start_from_latest().start(ex).await?;
    let mut took = Vec::new();
    for _ in 0..commits {
        evento::create().event(&payload()).commit(ex).await?;
        let committed = Instant::now();
        let (_, at) = got.recv().await.context("the subscription has ended")?;
        took.push((at.saturating_duration_since(committed).as_secs_f64() * 1e3).to_string());
    }
    subscription.shutdown().await?;
    Ok(took.join(" "))
}

fn new_key(name: &str) -> String {
    format!("{name}-{:?}", std::time::SystemTime::now())
}

/// A subscription runs while writers commit one event each; how many of all the events in the
/// store it has not handled when nothing has come for five seconds.
async fn deliver<E: Executor + Clone + 'static>(ex: &E, writers: usize, commits: usize) -> anyhow::Result<String> {
    let (handled, mut got) = mpsc::unbounded_channel();
    let subscription = SubscriptionBuilder::new("deliver").handler(tell()).data::<Handled>(handled).start(ex).await?;
    write(ex, writers, commits, 1).await?;
    let (all, mut seen) = (writers + commits, HashSet::new());
    while seen.len() < all {
        let Ok(Some((id, _))) = tokio::time::timeout(Duration::from_secs(5), got.recv()).await else { break };
        seen.insert(id);
    }
    subscription.shutdown().await?;
    Ok((all - seen.len()).to_string())
}
