//! Virtual machines with the distribution's stock kernels.

pub(crate) mod console;
pub(crate) mod cpio;
pub(crate) mod initramfs;
pub(crate) mod kernel;
pub(crate) mod modules;
pub(crate) mod programs;
pub(crate) mod qemu;
