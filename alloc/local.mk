# alloc
