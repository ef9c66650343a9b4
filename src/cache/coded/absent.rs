//! What stands in the place of codings without a feature that makes one: nothing.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{response, HeaderMap};

use super::core::{Core, Shared};
use super::route::Route;
use crate::policy::decision::Reason;
use crate::policy::request::RequestFields;
use crate::policy::stored::StoredResponse;
use crate::policy::storing::Terms;

pub(crate) struct Codings;

/// No value of this type can be made, so a branch on one is compiled away.
#[derive(Clone, Copy)]
pub(crate) enum Coding {}

pub(crate) enum Making {}

impl Codings {
    pub(crate) fn of(_: &Shared, _: &Route) -> Self {
        Self
    }

    pub(crate) fn are_on(&self) -> bool {
        false
    }

    pub(crate) fn wanted(&self, _: &RequestFields<'_>) -> Option<Coding> {
        None
    }

    pub(crate) fn ask_for_identity(&self, _: &mut HeaderMap) {}

    pub(crate) fn settle(
        &self,
        _: &mut response::Parts,
        _: Option<u64>,
        _: Option<Coding>,
        _: &mut Result<Terms, Reason>,
    ) {
    }
}

pub(crate) fn form(
    _: &Core,
    stored: Arc<StoredResponse>,
    _: Option<Coding>,
    _: bool,
) -> (Arc<StoredResponse>, Option<Arc<Making>>) {
    (stored, None)
}

pub(crate) fn head(
    _: &Core,
    stored: Arc<StoredResponse>,
    _: Option<Coding>,
) -> Arc<StoredResponse> {
    stored
}

pub(crate) fn is_in_forms(_: &Core, _: &StoredResponse) -> bool {
    false
}

pub(crate) fn describe(_: &mut HeaderMap, coding: Coding) {
    match coding {}
}

impl Making {
    pub(crate) fn poll_chunk(&self, _: &mut usize, _: &Context<'_>) -> Poll<Option<Bytes>> {
        match *self {}
    }

    pub(crate) fn is_over(&self, _: usize) -> bool {
        match *self {}
    }
}
