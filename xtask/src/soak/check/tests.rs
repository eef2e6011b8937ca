//! The checker, on logs that contain each violation, and on one that contains none.
