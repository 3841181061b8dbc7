//! A store, in memory or a bucket, whose clients can die between any two operations, be overtaken, or lose an answer.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use reveil_sdk::Clock;

use super::super::{Objects, Shared};
use crate::clock::VirtualClock;

/// The store everybody shares, and the time everybody has.
#[derive(Debug)]
pub(crate) struct Cloud {
    store: Arc<dyn ObjectStore>,
    /// A bucket is everybody's; this is the test's own.
    prefix: Location,
    part_bytes: usize,
    put_at: Mutex<HashMap<Location, DateTime<Utc>>>,
    pub(crate) clock: VirtualClock,
}

impl Cloud {
    /// In memory.
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(InMemory::new()), Location::from("prefix"), 16 << 10)
    }
    pub(super) fn over(store: Arc<dyn ObjectStore>, prefix: Location, part_bytes: usize) -> Arc<Self> {
        let start = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        let (put_at, clock) = (Mutex::default(), VirtualClock::new(start));
        Arc::new(Self { store, prefix, part_bytes, put_at, clock })
    }
    pub(crate) fn wait(&self, time: TimeDelta) {
        self.clock.advance(time.to_std().unwrap());
    }
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client(Arc::new(Inner { cloud: Arc::clone(self), plan: Mutex::default() }))
    }
    /// As a replica sees it whose operations all go well.
    pub(crate) fn shared(self: &Arc<Self>) -> Shared {
        self.client().shared()
    }
    pub(crate) fn names(&self) -> Vec<String> {
        super::super::bridge::wait(async {
            self.store.list(Some(&self.prefix)).map(|object| object.unwrap().location.to_string()).collect().await
        })
    }
    fn stamp(&self, location: &Location) {
        self.put_at.lock().unwrap().insert(location.clone(), self.clock.now());
    }
    fn stamped(&self, meta: ObjectMeta) -> ObjectMeta {
        let known = self.put_at.lock().unwrap().get(&meta.location).copied();
        ObjectMeta { last_modified: known.unwrap_or(meta.last_modified), ..meta }
    }
}

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Plan {
    operations: u32,
    /// At this operation the process ends; whether the operation is still done.
    death: Option<(u32, bool)>,
    /// What happens before this operation.
    hook: Option<(u32, Hook)>,
    /// Every answer to a put is lost once, and the put repeated, as clients do by themselves.
    stutters: bool,
    /// Conditions are not looked at.
    overwrites: bool,
}

struct Inner {
    cloud: Arc<Cloud>,
    plan: Mutex<Plan>,
}

/// One process's way to the store.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn dead() -> Error {
    Error::Generic { store: "Cloud", source: "the process has ended".into() }
}

impl Client {
    pub(crate) fn shared(&self) -> Shared {
        let objects = Objects::new(Arc::new(self.clone()), self.0.cloud.prefix.clone(), None);
        let objects = objects.in_parts_of(self.0.cloud.part_bytes);
        Shared { objects, clock: Arc::new(self.0.cloud.clock.clone()) }
    }
    pub(crate) fn dies_at(self, operation: u32, done: bool) -> Self {
        self.0.plan.lock().unwrap().death = Some((operation, done));
        self
    }
    pub(crate) fn stutters(self) -> Self {
        self.0.plan.lock().unwrap().stutters = true;
        self
    }
    pub(crate) fn overwrites(self) -> Self {
        self.0.plan.lock().unwrap().overwrites = true;
        self
    }
    /// The hook runs in a thread of its own, before the operation of that number from now on.
    pub(crate) fn interrupt_at(&self, operation: u32, hook: impl FnOnce() + Send + 'static) {
        let mut plan = self.0.plan.lock().unwrap();
        plan.hook = Some((plan.operations + operation, Box::new(hook)));
    }
    /// The hook will not run any more; true when it had not run yet.
    pub(crate) fn calm(&self) -> bool {
        self.0.plan.lock().unwrap().hook.take().is_some()
    }
    pub(crate) fn is_dead(&self) -> bool {
        let plan = self.0.plan.lock().unwrap();
        plan.death.is_some_and(|(at, _)| plan.operations >= at)
    }

    /// Counts an operation. Err: not done. Ok(true): done, but the answer is lost.
    fn step(&self) -> Result<bool> {
        let hook = {
            let mut plan = self.0.plan.lock().unwrap();
            plan.operations += 1;
            let now = plan.operations;
            plan.hook.take_if(|(at, _)| *at <= now)
        };
        if let Some((_, hook)) = hook {
            std::thread::spawn(hook).join().unwrap();
        }
        let plan = self.0.plan.lock().unwrap();
        match plan.death {
            Some((at, done)) if plan.operations == at => {
                if done {
                    Ok(true)
                } else {
                    Err(dead())
                }
            }
            Some((at, _)) if plan.operations > at => Err(dead()),
            _ => Ok(false),
        }
    }
    fn store(&self) -> &dyn ObjectStore {
        &self.0.cloud.store
    }
}

#[async_trait]
impl ObjectStore for Client {
    async fn put_opts(&self, location: &Location, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        let lost = self.step()?;
        if self.0.plan.lock().unwrap().overwrites {
            options.mode = PutMode::Overwrite;
        }
        let mut result = self.store().put_opts(location, payload.clone(), options.clone()).await;
        if result.is_ok() {
            self.0.cloud.stamp(location);
        }
        if self.0.plan.lock().unwrap().stutters {
            result = self.store().put_opts(location, payload, options).await;
        }
        if lost { Err(dead()) } else { result }
    }
    async fn put_multipart_opts(
        &self,
        location: &Location,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let lost = self.step()?;
        let parts = self.store().put_multipart_opts(location, options).await?;
        if lost { Err(dead()) } else { Ok(Box::new(Parts { client: self.clone(), location: location.clone(), parts })) }
    }
    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        self.step()?;
        let mut found = self.store().get_opts(location, options).await?;
        found.meta = self.0.cloud.stamped(found.meta);
        Ok(found)
    }
    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.step()?;
        self.store().get_ranges(location, ranges).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Location>>) -> BoxStream<'static, Result<Location>> {
        let client = self.clone();
        locations
            .then(move |location| {
                let client = client.clone();
                async move {
                    let (location, lost) = (location?, client.step()?);
                    client.store().delete(&location).await?;
                    if lost { Err(dead()) } else { Ok(location) }
                }
            })
            .boxed()
    }
    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.step() {
            Ok(_) => self.store().list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }
    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.step()?;
        let mut listed = self.store().list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(|meta| self.0.cloud.stamped(meta)).collect();
        Ok(listed)
    }
    async fn copy_opts(&self, _: &Location, _: &Location, _: CopyOptions) -> Result<()> {
        unreachable!("ledgers copy nothing")
    }
}

#[derive(Debug)]
struct Parts {
    client: Client,
    location: Location,
    parts: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.put_part(data)
    }
    async fn complete(&mut self) -> Result<PutResult> {
        let lost = self.client.step()?;
        let result = self.parts.complete().await?;
        self.client.0.cloud.stamp(&self.location);
        if lost { Err(dead()) } else { Ok(result) }
    }
    async fn abort(&mut self) -> Result<()> {
        self.parts.abort().await
    }
}
