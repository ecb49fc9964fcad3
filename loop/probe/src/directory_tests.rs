//! Tests of the runtime directory: who may see it, and which pages are of the living.
