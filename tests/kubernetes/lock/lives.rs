//! Holders that live as long as their PipelineRun.
