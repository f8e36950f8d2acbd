#ifndef FLOWSTREAM_API_H
#define FLOWSTREAM_API_H

#define FS_API __attribute__((visibility("default")))

#endif
