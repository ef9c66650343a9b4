//! Feeds the [`Mirror`]: heartbeats, messages, loads and replays go between it and Redis.
//!
//! One task beats; it ends with the last handle, and is started again by the next request when its
//! runtime is gone. `sync.lua` is the first thing that a new connection to the clock's server
//! carries, so no request ever asks a server that was not compared with the clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, Notify};
use tokio::task::AbortHandle;

use super::Keys;
use crate::clock::Stopwatch;
use crate::policy::stored::Fence;
use crate::policy::tag::TagHash;
use crate::redis::{Event, Fresh, NoAnswer, Redis, Script};
use crate::store::invalidation::{
    arguments, invalidation, new_epoch, Asked, Before, Bounds, Doubt, Health, Mirror, Next, Reach,
    Ticket, Undone, Unsound, Validity, View, CLOCK, SYNC,
};

static SYNC_SCRIPT: Script = Script::new(SYNC);
static CLOCK_SCRIPT: Script = Script::new(CLOCK);

/// How long an invalidation may take before its caller is told that it is deferred.
const INVALIDATION: Duration = Duration::from_millis(500);
/// How long what is not on a request's path may take: a heartbeat, half a MiB of clock.
const BACKGROUND: Duration = Duration::from_millis(500);

/// How a mirror is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Two to the power of this is the number of buckets.
    pub(crate) bits: u8,
    pub(crate) beat: Duration,
    pub(crate) bounds: Bounds,
    /// How many deferred invalidations are kept apart.
    pub(crate) journal: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bits: 16,
            beat: Duration::from_millis(150),
            bounds: Bounds {
                limit: Duration::from_millis(600),
                grace: Duration::from_secs(10),
            },
            journal: 1024,
        }
    }
}

/// The mirror of the shared clock, kept up to date.
pub(crate) struct Driver {
    redis: Redis,
    keys: Keys,
    settings: Settings,
    view: Arc<View>,
    mirror: Mutex<Mirror>,
    time: Stopwatch,
    /// The mirror wants the whole clock; otherwise a wake is for a sync.
    wants_load: AtomicBool,
    wake: Arc<Notify>,
    beating: Mutex<Option<AbortHandle>>,
}

impl Driver {
    pub(crate) fn start(redis: Redis, keys: Keys, settings: Settings) -> Arc<Self> {
        let bits = u32::from(settings.bits);
        let view = Arc::new(View::new(bits, settings.bounds, Undone::default()));
        let driver = Arc::new(Self {
            mirror: Mutex::new(Mirror::new(Arc::clone(&view), settings.journal)),
            view,
            redis,
            keys,
            settings,
            time: Stopwatch::start(),
            wants_load: AtomicBool::new(false),
            wake: Arc::default(),
            beating: Mutex::default(),
        });
        // Neither may keep the driver alive, which keeps the handle alive.
        let greeted = Arc::downgrade(&driver);
        driver.redis.on_connect(driver.keys.clock(), move |fresh| {
            let driver = greeted.upgrade();
            async move {
                match driver {
                    Some(driver) => driver.greet(fresh).await,
                    None => Ok(()),
                }
            }
        });
        let heard = Arc::downgrade(&driver);
        driver.redis.subscribe(driver.keys.channel(), move |event| {
            if let Some(driver) = heard.upgrade() {
                driver.hear(&event);
            }
        });
        driver.ensure_beating();
        driver
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The clock as it stands, for a response whose making begins now.
    pub(crate) fn fence(&self) -> Fence {
        self.view.fence(self.time.now())
    }

    /// Whether a response may answer a relaxed look-up.
    pub(crate) fn relaxed(&self, fence: Fence, tags: &[TagHash]) -> Result<Validity, Unsound> {
        self.view.relaxed(fence, tags, self.time.now())
    }

    /// What a strict look-up is compared with; `None` where it must bypass.
    pub(crate) fn before(&self) -> Option<Before> {
        Before::asking(&self.view)
    }

    /// Something in an answer says that the clock has begun another life.
    pub(crate) fn suspect(&self) {
        self.follow(Next::Sync);
    }

    /// Whether the near tier need not ask.
    pub(crate) fn is_sound(&self) -> bool {
        self.view.soundness.health(self.time.now()) == Health::Sound
    }

    /// Invalidates here and now, and tells Redis in a task that nobody's leaving cuts short.
    pub(crate) fn invalidate(self: &Arc<Self>, reach: Reach) -> Deferral {
        let ticket = {
            let mut mirror = self.mirror.lock();
            mirror.invalidate(reach.clone(), self.time.now())
        };
        let underway = Underway {
            driver: Arc::clone(self),
            ticket: Some(ticket),
        };
        let (tell, told) = oneshot::channel();
        if let Ok(runtime) = Handle::try_current() {
            self.ensure_beating();
            runtime.spawn(async move {
                let deferred = underway.send(&reach).await.is_err();
                let _ = tell.send(deferred);
            });
        }
        Deferral(told)
    }

    /// Sends what is deferred, until `limit` has passed; true if nothing is left. For a shutdown.
    pub(crate) async fn flush(self: &Arc<Self>, limit: Duration) -> bool {
        let flushed = async {
            while self.deferred() > 0 {
                self.replay().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(limit, flushed).await.is_ok()
    }

    /// How many invalidations Redis has not heard of.
    pub(crate) fn deferred(&self) -> u64 {
        self.mirror.lock().behind() as u64
    }

    /// Starts the heartbeat, unless it runs.
    pub(crate) fn ensure_beating(self: &Arc<Self>) {
        let mut beating = self.beating.lock();
        if beating.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(beat(Arc::downgrade(self), self.settings.beat));
            *beating = Some(task.abort_handle());
        }
    }

    fn follow(&self, next: Next) {
        match next {
            Next::Nothing => return,
            Next::Load => self.wants_load.store(true, Ordering::SeqCst),
            Next::Sync => {}
        }
        self.wake.notify_one();
    }

    fn hear(&self, event: &Event) {
        let next = match event {
            Event::Subscribed => self.mirror.lock().subscribed(),
            Event::Message(message) => self.mirror.lock().message(message),
            // What is missed from here on shows with the next heartbeat.
            Event::Lost => Next::Nothing,
        };
        self.follow(next);
    }

    /// The first words on a new connection to the clock's server.
    async fn greet(&self, mut fresh: Fresh) -> Result<(), NoAnswer> {
        let _ = self.mirror.lock().connected();
        let (asked, arguments) = self.question();
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let clock = [self.keys.clock()];
        let reply = fresh
            .script(&SYNC_SCRIPT, &clock, &arguments, BACKGROUND)
            .await?;
        let next = self
            .mirror
            .lock()
            .beat(asked, self.time.now(), bytes(&reply));
        if next == Next::Load {
            let asked = self.mirror.lock().asking(self.time.now());
            let reply = fresh.run(get(self.keys.clock()), BACKGROUND).await?;
            let _ = self.mirror.lock().loaded(asked, bytes(&reply));
        }
        if self.view.soundness.doubts(Doubt::Unsynced) {
            let why = "the invalidation clock cannot be understood".to_owned();
            return Err(NoAnswer::Refused(why));
        }
        self.wake.notify_one(); // what is deferred can be sent now
        Ok(())
    }

    /// What `sync.lua` is asked with, and the mark of the question.
    fn question(&self) -> (Asked, Vec<Vec<u8>>) {
        let mut mirror = self.mirror.lock();
        let asked = mirror.asking(self.time.now());
        let arguments = arguments(self.settings.bits, new_epoch(), mirror.knows());
        (asked, arguments)
    }

    async fn sync(&self) -> Next {
        let (asked, arguments) = self.question();
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let clock = [self.keys.clock()];
        let reply = self
            .redis
            .vital_script(&SYNC_SCRIPT, &clock, &arguments, BACKGROUND);
        match reply.await {
            Ok(reply) => self
                .mirror
                .lock()
                .beat(asked, self.time.now(), bytes(&reply)),
            Err(_) => Next::Nothing,
        }
    }

    async fn load(&self) -> Next {
        let asked = self.mirror.lock().asking(self.time.now());
        match self.redis.vital_get(self.keys.clock(), BACKGROUND).await {
            Ok(reply) => {
                let clock = reply.unwrap_or_default();
                self.mirror.lock().loaded(asked, &clock)
            }
            Err(_) => Next::Nothing,
        }
    }

    /// Sends what is deferred, one after another, until one does not get through.
    async fn replay(self: &Arc<Self>) {
        loop {
            let Some((ticket, reach)) = self.mirror.lock().replay() else {
                return;
            };
            let underway = Underway {
                driver: Arc::clone(self),
                ticket: Some(ticket),
            };
            if underway.send(&reach).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.beating.get_mut().take() {
            task.abort();
        }
    }
}

/// The task that keeps the mirror up to date for as long as the driver lives.
async fn beat(driver: Weak<Driver>, every: Duration) {
    loop {
        let Some(this) = driver.upgrade() else { return };
        this.replay().await;
        let mut next = Next::Sync;
        // A sync may ask for a load, and a load that finds no clock for a sync; not for ever.
        for _ in 0..3 {
            let wants_load = this.wants_load.swap(false, Ordering::SeqCst);
            next = match next {
                Next::Load => this.load().await,
                _ if wants_load => this.load().await,
                Next::Sync => this.sync().await,
                Next::Nothing => break,
            };
        }
        // Woken at once by what was noted meanwhile. The driver is not held while waiting.
        let wake = Arc::clone(&this.wake);
        drop(this);
        let _ = tokio::time::timeout(every, wake.notified()).await;
    }
}

/// An invalidation that was entered and not yet settled. However it ends, it is accounted for.
struct Underway {
    driver: Arc<Driver>,
    ticket: Option<Ticket>,
}

impl Underway {
    async fn send(mut self, reach: &Reach) -> Result<(), ()> {
        let driver = Arc::clone(&self.driver);
        let mut all = arguments(
            driver.settings.bits,
            new_epoch(),
            driver.mirror.lock().knows(),
        );
        all.extend(invalidation(driver.keys.channel(), reach));
        let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
        let clock = [driver.keys.clock()];
        let reply = driver
            .redis
            .vital_script(&CLOCK_SCRIPT, &clock, &all, INVALIDATION)
            .await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(why) => {
                tracing::debug!(%why, "an invalidation is deferred");
                return Err(()); // the drop says so
            }
        };
        let Some(ticket) = self.ticket.take() else {
            return Ok(());
        };
        let settled = driver.mirror.lock().acknowledged(ticket, bytes(&reply));
        let (Ok(next) | Err(next)) = settled;
        driver.follow(next);
        settled.map(drop).map_err(drop)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.driver.mirror.lock().failed(ticket, 0);
        }
    }
}

/// Tells whether an invalidation is deferred. Dropping it changes nothing.
pub(crate) struct Deferral(oneshot::Receiver<bool>);

impl Future for Deferral {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        // Without a runtime, or with one that has ended, the journal has it.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|told| told.unwrap_or(true))
    }
}

fn get(key: &[u8]) -> redis::Cmd {
    let mut command = redis::cmd("GET");
    command.arg(key);
    command
}

/// The bytes of a reply; none for anything else, which is no clock and no message.
pub(super) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        _ => &[],
    }
}
