#ifndef FLOWSTREAM_API_H
#define FLOWSTREAM_API_H 1
#define FS_API __attribute__((visibility("default")))
#endif
