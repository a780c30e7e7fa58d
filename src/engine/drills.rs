//! Drills and readiness reports: begun, watched, ended.
//!
//! Model: one [`Run`] at a time. It has a judge of its cut-off, a sketch of what clients ask meanwhile, and, unless it is a shadow drill,
//! a world in which they are answered (`worlds`). What is asked is judged beside, each distinct question once in [`JUDGED_FOR`]. A run
//! ends when its time is over, when somebody stops it, when too much fails ([`watch`](crate::drill::watch)), or with the process. The last
//! one is kept for its report. A readiness report is a [`Job`] that goes through all questions that are known to be asked.
//!
//! Failure: a judgement that takes long holds up others, nobody else; the world of a drill that has ended is dropped.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Engine;
use crate::clock::{Clock, Now, format_utc};
use crate::dns::Question;
use crate::drill::judge::Judge;
use crate::drill::names::Names;
use crate::drill::report::{DrillReport, DrillState, ReadinessProgress, Report, Tally};
use crate::drill::verdict::Judged;
use crate::drill::watch::Watch;
use crate::metrics::Metrics;
use crate::mirror::behind;
use crate::news::News;
use crate::reach::Cut;

/// The longest drill.
pub const TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Distinct questions that are kept of one drill.
const SEEN_MAX: usize = 20_000;
/// A verdict stands for so long.
const JUDGED_FOR: Duration = Duration::from_secs(300);
/// Judgements at once, and the pause between their beginnings: servers that stay reachable are really asked.
const JUDGED_AT_ONCE_MAX: usize = 16;
const JUDGE_EVERY: Duration = Duration::from_millis(10);
/// Questions that are judged between two looks at what is asked.
const JUDGED_PER_LOOK_MAX: usize = 500;
/// Time between two looks at what is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two fadings of the counts of names.
const FADE_EVERY: Duration = Duration::from_secs(3600);
/// A readiness report that nobody has asked for any more for so long is given up: it would stand in the way of the next one.
const ABANDONED_AFTER: Duration = Duration::from_secs(30);
/// When a drill is over, its last questions are answered: so long after that is taken away what they have left.
const SWEPT_AFTER: Duration = Duration::from_secs(12);

/// A drill that is to begin.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What is cut off.
    pub cut: Arc<Cut>,
    /// It ends by itself after so long.
    pub time: Duration,
    /// Clients' answers stay as they are.
    pub shadow: bool,
    /// It ends when the share of questions that fail grows by more than this, 0 to 1.
    pub abort_at: f64,
}

/// A drill.
struct Run {
    planned: Planned,
    began: Now,
    judge: Judge,
    seen: Arc<Names>,
    verdicts: Mutex<HashMap<Question, (Duration, Judged)>>,
    /// Asked and failed before.
    counts: (u64, u64),
    share_before: f64,
    ended: Mutex<Option<Ended>>,
}

#[derive(Debug, Clone)]
struct Ended {
    at_s: u64,
    why: String,
    counts: (u64, u64),
}

/// A readiness report in the making.
struct Job {
    id: u64,
    of: u64,
    done: AtomicU64,
    /// When somebody asked how far it is, monotonic.
    asked: Mutex<Duration>,
    report: Mutex<Option<Report>>,
}

#[derive(Default)]
struct State {
    running: Option<Arc<Run>>,
    last: Option<Arc<Run>>,
    job: Option<Arc<Job>>,
    jobs: u64,
}

/// Everything that is rehearsed and judged.
pub struct Drills {
    engine: Arc<Engine>,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    watch: Mutex<Watch>,
    /// One drill begins at a time.
    beginning: tokio::sync::Mutex<()>,
}

impl Drills {
    /// Nothing is rehearsed yet.
    pub fn new(engine: Arc<Engine>, clock: Clock, metrics: Arc<Metrics>) -> Arc<Drills> {
        Arc::new(Drills {
            engine,
            clock,
            metrics,
            state: Mutex::default(),
            watch: Mutex::default(),
            beginning: tokio::sync::Mutex::default(),
        })
    }

    /// Watches over drills, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut faded = self.clock.now().mono;
        loop {
            sleep(LOOK_EVERY).await;
            let now = self.clock.now();
            let (asked, failed) = self.engine.front.counts();
            lock(&self.watch).tick(asked, failed);
            if now.mono >= faded + FADE_EVERY {
                if let Some(names) = self.engine.front.names() {
                    names.fade(now.mono - faded);
                }
                faded = now.mono;
            }
            self.look_after(now);
        }
    }

    /// Ends the drill when it is time.
    fn look_after(self: &Arc<Self>, now: Now) {
        let Some(run) = lock(&self.state).running.clone() else {
            return;
        };
        let running = now.mono.saturating_sub(run.began.mono);
        if running >= run.planned.time {
            self.end("its time is over", News::DrillEnded);
            return;
        }
        if run.planned.shadow {
            return;
        }
        let bound = run.planned.abort_at;
        let exceeds =
            lock(&self.watch).exceeds(run.share_before, bound, running.as_secs() as usize);
        if let Some(share) = exceeds {
            self.metrics.drills_aborted_total.inc();
            let why = format!(
                "given up: {:.1} % of the questions failed, {:.1} % did before, and the bound is {:.1} % more",
                share * 100.0,
                run.share_before * 100.0,
                bound * 100.0
            );
            self.end(&why, News::DrillAborted);
        }
    }

    /// Begins a drill.
    ///
    /// # Errors
    /// One goes on already, or the time is not allowed.
    pub async fn start(self: &Arc<Self>, planned: Planned) -> Result<DrillState, String> {
        if planned.time.is_zero() || planned.time > TIME_MAX {
            let max = TIME_MAX.as_secs() / 3600;
            return Err(format!("a drill lasts from one second to {max} hours"));
        }
        let _beginning = self.beginning.lock().await;
        if let Some(run) = &lock(&self.state).running {
            let cut = &run.planned.cut;
            return Err(format!(
                "a drill goes on already ({cut}); `holdfast drill stop` ends it"
            ));
        }
        let engine = &self.engine;
        let judge = engine.judge(planned.cut.clone()).await;
        let rehearsal = match planned.shadow {
            true => None,
            false => Some(Arc::new(engine.rehearse(planned.cut.clone()).await)),
        };
        let run = Arc::new(Run {
            judge,
            began: self.clock.now(),
            seen: Arc::new(Names::new(SEEN_MAX)),
            verdicts: Mutex::default(),
            counts: engine.front.counts(),
            share_before: lock(&self.watch).share(),
            ended: Mutex::default(),
            planned,
        });
        lock(&self.state).running = Some(run.clone());
        engine.front.watch(Some(run.seen.clone()));
        engine.front.rehearse(rehearsal);
        self.metrics.drills_total.inc();
        self.metrics.drill_running.set(1);
        let (cut, seconds) = (&run.planned.cut, run.planned.time.as_secs());
        let alert = News::DrillStarted.word();
        match run.planned.shadow {
            true => {
                tracing::info!(alert, %cut, seconds, "a shadow drill begins: questions are judged, answers stay as they are")
            }
            false => {
                tracing::warn!(alert, %cut, seconds, "A DRILL BEGINS: clients are answered as if this were cut off")
            }
        }
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        tokio::spawn(judge_what_is_asked(run.clone(), clock, metrics));
        Ok(self.state_of(&run))
    }

    /// Ends the drill.
    ///
    /// # Errors
    /// There is none.
    pub fn stop(self: &Arc<Self>) -> Result<DrillState, String> {
        let run = self.end("stopped", News::DrillEnded);
        let run = run.ok_or("no drill goes on")?;
        Ok(self.state_of(&run))
    }

    fn end(self: &Arc<Self>, why: &str, news: News) -> Option<Arc<Run>> {
        let run = {
            let mut state = lock(&self.state);
            let run = state.running.take()?;
            state.last = Some(run.clone());
            run
        };
        let front = &self.engine.front;
        let began = front.rehearsal().map(|rehearsal| rehearsal.began());
        front.rehearse(None);
        front.watch(None);
        let counts = front.counts();
        *lock(&run.ended) = Some(Ended {
            at_s: self.clock.now().wall_s,
            why: why.to_owned(),
            counts,
        });
        self.metrics.drill_running.set(0);
        let cut = &run.planned.cut;
        let (asked, failed) = (counts.0 - run.counts.0, counts.1 - run.counts.1);
        let alert = news.word();
        match began {
            None => tracing::info!(alert, %cut, why, asked, "the shadow drill is over"),
            Some(since) => {
                tracing::warn!(alert, %cut, why, asked, failed, "THE DRILL IS OVER: clients are answered from the true world");
                // What failed in the drill is no measure for the next one.
                *lock(&self.watch) = Watch::default();
                let resolver = self.engine.resolver.clone();
                resolver.end_rehearsal(since);
                tokio::spawn(async move {
                    sleep(SWEPT_AFTER).await;
                    resolver.end_rehearsal(since);
                });
            }
        }
        Some(run)
    }

    /// What there is to say of the drill that goes on; else of the last one.
    pub fn current(&self) -> Option<DrillState> {
        let run = self.latest()?;
        Some(self.state_of(&run))
    }

    fn latest(&self) -> Option<Arc<Run>> {
        let state = lock(&self.state);
        state.running.clone().or_else(|| state.last.clone())
    }

    /// What the drill has shown so far, or the last one in all. Adds up many rows: not for a thread that answers.
    ///
    /// # Errors
    /// There was none since the start.
    pub fn report(&self) -> Result<DrillReport, String> {
        let run = self.latest();
        let run = run.ok_or("there was no drill since this server started")?;
        let mut tally = Tally::default();
        let mut waiting = 0;
        let verdicts = lock(&run.verdicts);
        for counted in run.seen.all() {
            match verdicts.get(&counted.question) {
                Some((_, verdict)) => {
                    let count = counted.count - counted.error;
                    tally.add(counted.question, count, verdict.clone());
                }
                None => waiting += 1,
            }
        }
        drop(verdicts);
        let state = self.state_of(&run);
        let until = state.ended_at.clone();
        let until = until.unwrap_or_else(|| format_utc(self.clock.now().wall_s));
        let report = tally.report(state.cut.clone(), state.began_at.clone(), until);
        Ok(DrillReport {
            drill: state,
            waiting,
            report,
        })
    }

    fn state_of(&self, run: &Run) -> DrillState {
        let ended = lock(&run.ended).clone();
        let (asked, failed) = match &ended {
            Some(ended) => ended.counts,
            None => self.engine.front.counts(),
        };
        let (asked, failed) = (asked - run.counts.0, failed - run.counts.1);
        DrillState {
            cut: run.planned.cut.to_string(),
            shadow: run.planned.shadow,
            running: ended.is_none(),
            began_at: format_utc(run.began.wall_s),
            ends_at: format_utc(run.began.wall_s + run.planned.time.as_secs()),
            ended_at: ended.as_ref().map(|e| format_utc(e.at_s)),
            ended: ended.map(|e| e.why),
            abort_at: run.planned.abort_at,
            asked,
            failed,
            failed_share: match asked {
                0 => 0.0,
                _ => failed as f64 / asked as f64,
            },
            failed_share_before: run.share_before,
        }
    }

    // --- readiness ---------------------------------------------------------------------------------

    /// Begins a readiness report on these questions, each with how often it is asked; without any, on those that clients ask.
    ///
    /// # Errors
    /// One is in the making.
    pub async fn assess(
        self: &Arc<Self>,
        cut: Arc<Cut>,
        questions: Option<Vec<Question>>,
    ) -> Result<ReadinessProgress, String> {
        let list: Vec<(Question, f64)> = match questions {
            Some(list) => list.into_iter().map(|question| (question, 1.0)).collect(),
            None => {
                let names = self.engine.front.names().ok_or(
                    "names.enabled is false, so it is not known what is asked; --names FILE judges a list of your own",
                )?;
                let names = names.clone();
                let all = behind(move || names.all()).await.into_iter();
                all.map(|c| (c.question, c.count - c.error)).collect()
            }
        };
        let job = {
            let mut state = lock(&self.state);
            if let Some(job) = state.job.as_ref().filter(|job| lock(&job.report).is_none()) {
                let done = job.done.load(Ordering::Relaxed);
                let of = job.of;
                return Err(format!(
                    "another report is in the making ({done} of {of} questions)"
                ));
            }
            state.jobs += 1;
            let job = Arc::new(Job {
                id: state.jobs,
                of: list.len() as u64,
                done: AtomicU64::new(0),
                asked: Mutex::new(self.clock.now().mono),
                report: Mutex::new(None),
            });
            state.job = Some(job.clone());
            job
        };
        let (drills, at) = (self.clone(), job.clone());
        tokio::spawn(async move {
            match drills.made(cut, list, &at).await {
                Some(report) => *lock(&at.report) = Some(report),
                None => drills.give_up(&at),
            }
        });
        Ok(progress(&job))
    }

    /// How far that report is; with it the report, once it is there.
    ///
    /// # Errors
    /// There is no such report.
    pub fn assessed(&self, id: u64) -> Result<ReadinessProgress, String> {
        let state = lock(&self.state);
        let job = state.job.as_ref().filter(|job| job.id == id);
        let told = job.map(|job| {
            *lock(&job.asked) = self.clock.now().mono;
            progress(job)
        });
        told.ok_or_else(|| "there is no such report any more".to_owned())
    }

    /// The last readiness report.
    pub fn outlook(&self) -> Option<Report> {
        let state = lock(&self.state);
        let job = state.job.as_ref()?;
        lock(&job.report).clone()
    }

    fn give_up(&self, job: &Job) {
        let mut state = lock(&self.state);
        if state.job.as_ref().is_some_and(|known| known.id == job.id) {
            state.job = None;
        }
        tracing::info!(
            done = job.done.load(Ordering::Relaxed),
            of = job.of,
            "a readiness report is given up: nobody waits for it any more"
        );
    }

    /// None when nobody waits for it any more.
    async fn made(&self, cut: Arc<Cut>, list: Vec<(Question, f64)>, job: &Job) -> Option<Report> {
        let began = format_utc(self.clock.now().wall_s);
        let judge = self.engine.judge(cut.clone()).await;
        let counts: HashMap<Question, f64> = list.iter().cloned().collect();
        let tally = Mutex::new(Tally::default());
        let is_wanted = |_: &Question| self.clock.now().mono < *lock(&job.asked) + ABANDONED_AFTER;
        let mut questions = list.into_iter().map(|(question, _)| question).peekable();
        let keep = |question: Question, verdict| {
            self.metrics.questions_judged_total.inc();
            job.done.fetch_add(1, Ordering::Relaxed);
            let count = counts.get(&question).copied().unwrap_or(1.0);
            lock(&tally).add(question, count, verdict);
        };
        judge_all(
            &judge,
            std::iter::from_fn(|| questions.next_if(is_wanted)),
            keep,
        )
        .await;
        if questions.peek().is_some() {
            return None;
        }
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = format_utc(self.clock.now().wall_s);
        let report = behind(move || tally.report(cut.to_string(), began, ended)).await;
        let lost = 1.0 - report.survive.queries_share;
        let lost_permille = if report.names > 0 { lost * 1000.0 } else { 0.0 };
        self.metrics
            .readiness_lost_permille
            .set(lost_permille.round() as u64);
        Some(report)
    }
}

impl Drop for Drills {
    /// Nobody asks any more, so nothing is judged.
    fn drop(&mut self) {
        let run = lock(&self.state).running.take();
        self.engine.front.rehearse(None);
        if let Some(run) = run {
            run.seen.clear();
            *lock(&run.ended) = Some(Ended {
                at_s: self.clock.now().wall_s,
                why: "the server stops".into(),
                counts: self.engine.front.counts(),
            });
        }
    }
}

impl Run {
    /// What is to be judged, most used first; what comes up meanwhile waits for the next look.
    fn due(&self, now: Duration, is_over: bool) -> Vec<Question> {
        let asked = self.seen.all();
        let verdicts = lock(&self.verdicts);
        let is_due = |question: &Question| {
            let known = verdicts.get(question);
            known.is_none_or(|(at, _)| !is_over && now >= *at + JUDGED_FOR)
        };
        let asked = asked.into_iter().map(|counted| counted.question);
        asked.filter(is_due).take(JUDGED_PER_LOOK_MAX).collect()
    }
}

/// Judges what clients ask, as long as the drill goes on, and afterwards what is not judged yet.
async fn judge_what_is_asked(run: Arc<Run>, clock: Clock, metrics: Arc<Metrics>) {
    loop {
        let now = clock.now().mono;
        let is_over = lock(&run.ended).is_some();
        // Many are sorted: not on a thread that answers.
        let of = run.clone();
        let due = behind(move || of.due(now, is_over)).await;
        if is_over && due.is_empty() {
            return;
        }
        let keep = |question: Question, verdict| {
            metrics.questions_judged_total.inc();
            let mut verdicts = lock(&run.verdicts);
            if verdicts.len() >= 2 * SEEN_MAX {
                // What has left the sketch is not reported.
                let seen: HashSet<Question> =
                    run.seen.all().into_iter().map(|c| c.question).collect();
                verdicts.retain(|question, _| seen.contains(question));
            }
            verdicts.insert(question, (clock.now().mono, verdict));
        };
        judge_all(&run.judge, due.into_iter(), keep).await;
        sleep(LOOK_EVERY).await;
    }
}

fn progress(job: &Job) -> ReadinessProgress {
    ReadinessProgress {
        job: job.id,
        of: job.of,
        done: job.done.load(Ordering::Relaxed),
        report: lock(&job.report).clone(),
    }
}

/// Judges many questions, some at a time, at a bounded pace.
async fn judge_all(
    judge: &Judge,
    questions: impl Iterator<Item = Question>,
    keep: impl Fn(Question, Judged),
) {
    let mut under_way = JoinSet::new();
    for question in questions {
        if under_way.len() >= JUDGED_AT_ONCE_MAX
            && let Some(Ok((question, verdict))) = under_way.join_next().await
        {
            keep(question, verdict);
        }
        let judge = judge.clone();
        under_way.spawn(async move {
            let verdict = judge.judge(question.clone()).await;
            (question, verdict)
        });
        sleep(JUDGE_EVERY).await;
    }
    while let Some(done) = under_way.join_next().await {
        if let Ok((question, verdict)) = done {
            keep(question, verdict);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sound between any two operations.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
