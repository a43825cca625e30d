"""The native CPU sampler: packing, threads, and the module that is compiled from native/."""
