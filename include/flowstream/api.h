/* What a public function of the libflowstream libraries is marked with: all else is hidden (-fvisibility=hidden). */
#ifndef FLOWSTREAM_API_H
#define FLOWSTREAM_API_H

#define FS_API __attribute__((visibility("default")))

#endif
