/* The fast lane of mic, compiled: what mic/web/fastlane.py does for a small range, in fewer steps.
 *
 * Optional: mic works the same without it, only slower. Each function here has its equal in Python, and
 * one suite of tests runs on both (tests/unit/web/test_fastlane.py). Nothing here decides anything: names,
 * images, limits, counts and whatever is unusual are left to Python. All calls keep the interpreter
 * locked: none waits for a client or reads from a medium, and a thread that converts NMState takes the
 * interpreter for 0.2 ms each time it is unlocked.
 */
#define PY_SSIZE_T_CLEAN
#define _GNU_SOURCE
#include <Python.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum {
    LONGEST_REQUEST = 2048, /* received at a time, too: as in mic/web/transport.py */
    LONGEST_HEAD = 4096,
    SMALL = 64 * 1024,
    MOST_DIGITS = 18,
    LONGEST_OWN = 256, /* of the lines that are made here */
    INTERFACE = 2,     /* raised whenever mic calls this in another way */
};

/* One buffer for all: what is in it goes out, or is read again, before the next request comes. */
static char body_buffer[SMALL];
static char head_buffer[LONGEST_HEAD];
static char request_buffer[LONGEST_REQUEST];

/* --- requests --------------------------------------------------------------------------------------- */

enum { PATH = 1, HOST = 2, TEXT = 4, DIGIT = 8 };

static uint8_t kinds[256];

static void
mark(const char *characters, uint8_t kind)
{
    for (const char *each = characters; *each; each++)
        kinds[(unsigned char)*each] |= kind;
}

static void
make_kinds(void)
{
    mark("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-", PATH | HOST);
    mark("/", PATH);
    mark("!$%&'()*+,:;=[]", HOST);
    mark("0123456789", DIGIT);
    for (int each = ' '; each <= '~'; each++)
        kinds[each] |= TEXT;
}

/* The place in a request up to which it is read; every step checks that it stays inside. */
typedef struct {
    const char *at;
    const char *end;
} Cursor;

static bool
take(Cursor *cursor, const char *text, size_t length)
{
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, text, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

/* Take `text`, which is in lower case, whatever the case of the letters is, in any locale. */
static bool
take_any_case(Cursor *cursor, const char *text, size_t length)
{
    if ((size_t)(cursor->end - cursor->at) < length)
        return false;
    for (size_t index = 0; index < length; index++)
        if (Py_TOLOWER(cursor->at[index]) != text[index])
            return false;
    cursor->at += length;
    return true;
}

#define TAKE(cursor, text) take(cursor, text, sizeof(text) - 1)
#define TAKE_ANY_CASE(cursor, text) take_any_case(cursor, text, sizeof(text) - 1)

static void
skip(Cursor *cursor, uint8_t kind)
{
    while (cursor->at < cursor->end && kinds[(unsigned char)*cursor->at] & kind)
        cursor->at++;
}

static void
skip_spaces(Cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at == ' ')
        cursor->at++;
}

static bool
take_number(Cursor *cursor, long long *number)
{
    const char *begin = cursor->at;
    long long value = 0;
    while (cursor->at < cursor->end && kinds[(unsigned char)*cursor->at] & DIGIT) {
        if (cursor->at - begin == MOST_DIGITS)
            return false;
        value = value * 10 + (*cursor->at - '0');
        cursor->at++;
    }
    *number = value;
    return cursor->at > begin;
}

/* Take one field that changes nothing in an answer, with its line end; count those of Host. */
static bool
take_ignored(Cursor *cursor, int *hosts)
{
    if (TAKE_ANY_CASE(cursor, "host:")) {
        *hosts += 1;
        skip_spaces(cursor);
        skip(cursor, HOST);
        skip_spaces(cursor);
    } else if (TAKE_ANY_CASE(cursor, "user-agent:")) {
        skip_spaces(cursor);
        if (TAKE(cursor, "mic/"))
            return false;
        skip(cursor, TEXT);
    } else if (TAKE_ANY_CASE(cursor, "connection: keep-alive")) {
    } else if (TAKE_ANY_CASE(cursor, "accept:") || TAKE_ANY_CASE(cursor, "accept-encoding:") ||
               TAKE_ANY_CASE(cursor, "accept-language:") || TAKE_ANY_CASE(cursor, "authorization:") ||
               TAKE_ANY_CASE(cursor, "cache-control:") || TAKE_ANY_CASE(cursor, "pragma:")) {
        skip(cursor, TEXT);
    } else {
        return false;
    }
    return TAKE(cursor, "\r\n");
}

PyDoc_STRVAR(plain_request_doc,
             "plain_request(data, /)\n--\n\n"
             "Return name, first and last byte of one whole plain request, None for anything else.");

static PyObject *
plain_request(PyObject *Py_UNUSED(module), PyObject *data)
{
    if (!PyBytes_CheckExact(data) || PyBytes_GET_SIZE(data) > LONGEST_REQUEST)
        Py_RETURN_NONE;
    Cursor cursor = {PyBytes_AS_STRING(data), PyBytes_AS_STRING(data) + PyBytes_GET_SIZE(data)};
    if (!TAKE(&cursor, "GET /"))
        Py_RETURN_NONE;
    const char *name = cursor.at;
    for (; cursor.at < cursor.end && kinds[(unsigned char)*cursor.at] & PATH; cursor.at++)
        if (*cursor.at == '/')
            name = cursor.at + 1;
    Py_ssize_t length = cursor.at - name;
    if (length == 0 || !TAKE(&cursor, " HTTP/1.1\r\n"))
        Py_RETURN_NONE;
    int hosts = 0;
    bool ranged = false;
    long long first = 0, last = 0;
    while (!TAKE(&cursor, "\r\n")) {
        if (TAKE(&cursor, "Range: bytes=")) {
            if (ranged || !take_number(&cursor, &first) || !TAKE(&cursor, "-") ||
                !take_number(&cursor, &last) || !TAKE(&cursor, "\r\n"))
                Py_RETURN_NONE;
            ranged = true;
        } else if (!take_ignored(&cursor, &hosts)) {
            Py_RETURN_NONE;
        }
    }
    if (!ranged || hosts != 1 || cursor.at != cursor.end)
        Py_RETURN_NONE;
    PyObject *text = PyUnicode_DecodeASCII(name, length, NULL);
    if (text == NULL)
        return NULL;
    return Py_BuildValue("(NLL)", text, first, last);
}

/* --- answers ---------------------------------------------------------------------------------------- */

/* A base file, and how stat(2) shows it while an answer of its bytes is right. */
typedef struct {
    const char *path;
    int fd;
    unsigned long long device, inode;
    long long size;
    /* Seconds and nanoseconds of mtime and ctime. */
    long long modified, modified_ns, changed, changed_ns;
} File;

/* A piece of an image: bytes in memory (`data`), or of `file`, where it begins at `origin`. */
typedef struct {
    long long start;
    const char *data;
    const File *file;
    long long origin;
} Piece;

typedef struct {
    PyObject_HEAD
    PyObject *given; /* all that the members below point to */
    PyObject *lines;
    File *files;
    Py_ssize_t file_count;
    Py_buffer *views;
    Py_ssize_t view_count;
    Piece *pieces;
    Py_ssize_t piece_count;
    long long size;
} Sender;

static bool
is_unchanged(const File *file, const struct stat *now)
{
    /* The change time, too: nothing else shows a write after which the other times were set back. */
    return now->st_ino == file->inode && now->st_dev == file->device && now->st_size == file->size &&
           now->st_mtim.tv_sec == file->modified && now->st_mtim.tv_nsec == file->modified_ns &&
           now->st_ctim.tv_sec == file->changed && now->st_ctim.tv_nsec == file->changed_ns;
}

/* Return whether all paths certainly still lead to the files that are open. */
static bool
is_current(const Sender *self)
{
    for (Py_ssize_t index = 0; index < self->file_count; index++) {
        struct stat now;
        const File *file = &self->files[index];
        if (stat(file->path, &now) != 0 || !is_unchanged(file, &now))
            return false;
    }
    return true;
}

/* Return the index of the piece with the byte at `position`, which is inside the image. */
static Py_ssize_t
piece_at(const Sender *self, long long position)
{
    Py_ssize_t low = 0, high = self->piece_count;
    while (high - low > 1) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (self->pieces[middle].start <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static long long
piece_end(const Sender *self, Py_ssize_t index)
{
    return index + 1 < self->piece_count ? self->pieces[index + 1].start : self->size;
}

/* Read from a file if that needs no wait for the medium (preadv2(2)); return whether it did. */
static bool
read_cached(const File *file, long long from, char *to, size_t length)
{
    struct iovec part = {to, length};
    return preadv2(file->fd, &part, 1, from, RWF_NOWAIT) == (ssize_t)length;
}

/* Fill the buffer with these bytes of the image if that needs no wait; return whether it did. */
static bool
fill(const Sender *self, long long start, long long stop)
{
    char *to = body_buffer;
    for (Py_ssize_t index = piece_at(self, start); start < stop; index++) {
        const Piece *piece = &self->pieces[index];
        long long end = piece_end(self, index), inner = start - piece->start;
        size_t length = (size_t)((end < stop ? end : stop) - start);
        if (piece->data != NULL)
            memcpy(to, piece->data + inner, length);
        else if (!read_cached(piece->file, piece->origin + inner, to, length))
            return false;
        to += length;
        start += (long long)length;
    }
    return true;
}

/* Make the head of an answer; return its length, 0 if it is too long. */
static size_t
make_head(const Sender *self, PyObject *begin, long long start, long long stop)
{
    size_t first = (size_t)PyBytes_GET_SIZE(begin), lines = (size_t)PyBytes_GET_SIZE(self->lines);
    if (first + lines > LONGEST_HEAD - LONGEST_OWN)
        return 0;
    memcpy(head_buffer, PyBytes_AS_STRING(begin), first);
    memcpy(head_buffer + first, PyBytes_AS_STRING(self->lines), lines);
    int own = snprintf(head_buffer + first + lines, LONGEST_OWN,
                       "Content-Range: bytes %lld-%lld/%lld\r\nContent-Length: %lld\r\n\r\n", start,
                       stop - 1, self->size, stop - start);
    return first + lines + (size_t)own;
}

/* What went out of an answer: of its head, whose length is `head`, and of its body. */
typedef struct {
    size_t head;
    size_t taken;
} Sent;

/* Send the answer with these bytes of the image; return false, with nothing sent, if that cannot be done here. */
static bool
send_range(const Sender *self, int fd, long long start, long long stop, PyObject *begin, Sent *sent)
{
    size_t length = (size_t)(stop - start), head = make_head(self, begin, start, stop);
    /* The check comes after the read: what was read before it is right, and it is a copy. sendfile would
     * send what is in the file when the client takes it. */
    if (head == 0 || !fill(self, start, stop) || !is_current(self))
        return false;
    struct iovec parts[] = {{head_buffer, head}, {body_buffer, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t count = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* On an error the socket is full, or broken, which the next attempt will show. */
    *sent = (Sent){head, count < 0 ? 0 : (size_t)count};
    return true;
}

/* Return how many bytes of the body were taken, or the rest of the head where that was not taken whole. */
static PyObject *
taken_of(Sent sent)
{
    if (sent.taken < sent.head)
        return PyBytes_FromStringAndSize(head_buffer + sent.taken, (Py_ssize_t)(sent.head - sent.taken));
    return PyLong_FromSize_t(sent.taken - sent.head);
}

static bool
is_small_range(const Sender *self, long long start, long long stop)
{
    return 0 <= start && start < stop && stop <= self->size && stop - start <= SMALL;
}

PyDoc_STRVAR(send_doc,
             "send(fd, start, stop, begin, /)\n--\n\n"
             "Send the answer with the bytes start to stop of the image to a socket.\n\n"
             "begin is what comes before the header lines of the image. Return how many bytes of the body\n"
             "were taken, or the rest of the head where that was not taken whole, or None: nothing was\n"
             "sent, because a byte is not in memory or a file is not certainly the one that was opened.\n"
             "Raises ValueError for a range that is not inside the image, or not small.");

static PyObject *
sender_send(Sender *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4 || !PyBytes_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "send(fd, start, stop, begin)");
        return NULL;
    }
    long fd = PyLong_AsLong(args[0]);
    long long start = PyLong_AsLongLong(args[1]), stop = PyLong_AsLongLong(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (fd < 0 || fd > INT_MAX || !is_small_range(self, start, stop)) {
        PyErr_SetString(PyExc_ValueError, "not a small range of the image, or no descriptor");
        return NULL;
    }
    Sent sent;
    if (!send_range(self, (int)fd, start, stop, args[3], &sent))
        Py_RETURN_NONE;
    return taken_of(sent);
}

PyDoc_STRVAR(answer_doc,
             "answer(fd, before, after, begin, /)\n--\n\n"
             "Receive from a socket, and answer one request of `before`, a range, and `after`.\n\n"
             "Return start, stop, and what `send` returns; or the bytes that came, where they are\n"
             "anything else or were not answered: no bytes at the end. Raises OSError as recv does,\n"
             "BlockingIOError when there is nothing.");

static PyObject *
sender_answer(Sender *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4 || !PyBytes_Check(args[1]) || !PyBytes_Check(args[2]) || !PyBytes_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "answer(fd, before, after, begin)");
        return NULL;
    }
    int fd = (int)PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    ssize_t received = recv(fd, request_buffer, LONGEST_REQUEST, MSG_DONTWAIT);
    if (received < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Cursor cursor = {request_buffer, request_buffer + received};
    long long first, last;
    if (take(&cursor, PyBytes_AS_STRING(args[1]), (size_t)PyBytes_GET_SIZE(args[1])) &&
        take_number(&cursor, &first) && TAKE(&cursor, "-") && take_number(&cursor, &last) &&
        take(&cursor, PyBytes_AS_STRING(args[2]), (size_t)PyBytes_GET_SIZE(args[2])) &&
        cursor.at == cursor.end) {
        long long stop = last < self->size ? last + 1 : self->size;
        Sent sent;
        if (is_small_range(self, first, stop) && send_range(self, fd, first, stop, args[3], &sent))
            return Py_BuildValue("(LLN)", first, stop, taken_of(sent));
    }
    return PyBytes_FromStringAndSize(request_buffer, received);
}

static void
sender_dealloc(Sender *self)
{
    for (Py_ssize_t index = 0; index < self->view_count; index++)
        PyBuffer_Release(&self->views[index]);
    PyMem_Free(self->views);
    PyMem_Free(self->pieces);
    PyMem_Free(self->files);
    Py_XDECREF(self->lines);
    Py_XDECREF(self->given);
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static bool
add_file(Sender *self, PyObject *given)
{
    File *file = &self->files[self->file_count];
    PyObject *path;
    if (!PyTuple_Check(given) ||
        !PyArg_ParseTuple(given, "SiKKLLLLL", &path, &file->fd, &file->device, &file->inode, &file->size,
                          &file->modified, &file->modified_ns, &file->changed, &file->changed_ns)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a file is a tuple");
        return false;
    }
    file->path = PyBytes_AS_STRING(path);
    self->file_count++;
    return true;
}

static bool
add_piece(Sender *self, PyObject *given)
{
    Piece *piece = &self->pieces[self->piece_count];
    long long length;
    piece->start = self->size;
    if (PyTuple_Check(given)) {
        Py_ssize_t index;
        if (!PyArg_ParseTuple(given, "nLL", &index, &piece->origin, &length))
            return false;
        if (index < 0 || index >= self->file_count || piece->origin < 0) {
            PyErr_SetString(PyExc_ValueError, "a piece of no file");
            return false;
        }
        piece->file = &self->files[index];
    } else {
        Py_buffer *view = &self->views[self->view_count];
        if (PyObject_GetBuffer(given, view, PyBUF_SIMPLE) < 0)
            return false;
        self->view_count++;
        piece->data = view->buf;
        length = view->len;
    }
    if (length <= 0 || length > LLONG_MAX - self->size) {
        PyErr_SetString(PyExc_ValueError, "an empty piece, or too long an image");
        return false;
    }
    self->size += length;
    self->piece_count++;
    return true;
}

static PyObject *
sender_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"files", "pieces", "held", "lines", NULL};
    PyObject *files, *pieces, *held, *lines;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "$O!O!OS:Sender", names, &PyTuple_Type, &files,
                                     &PyTuple_Type, &pieces, &held, &lines))
        return NULL;
    Sender *self = (Sender *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_ssize_t file_count = PyTuple_GET_SIZE(files), piece_count = PyTuple_GET_SIZE(pieces);
    self->lines = Py_NewRef(lines);
    self->given = PyTuple_Pack(2, files, held);
    self->files = PyMem_Calloc((size_t)file_count + 1, sizeof(File));
    self->views = PyMem_Calloc((size_t)piece_count + 1, sizeof(Py_buffer));
    self->pieces = PyMem_Calloc((size_t)piece_count + 1, sizeof(Piece));
    bool made = self->given != NULL && self->files != NULL && self->views != NULL && self->pieces != NULL;
    if (!made && !PyErr_Occurred())
        PyErr_NoMemory();
    for (Py_ssize_t index = 0; made && index < file_count; index++)
        made = add_file(self, PyTuple_GET_ITEM(files, index));
    for (Py_ssize_t index = 0; made && index < piece_count; index++)
        made = add_piece(self, PyTuple_GET_ITEM(pieces, index));
    if (!made) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyMethodDef sender_methods[] = {
    {"send", (PyCFunction)(void (*)(void))sender_send, METH_FASTCALL, send_doc},
    {"answer", (PyCFunction)(void (*)(void))sender_answer, METH_FASTCALL, answer_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(sender_doc,
             "Sender(*, files, pieces, held, lines)\n--\n\n"
             "Sends small ranges of one version of an image.\n\n"
             "files: path, descriptor, device, inode, size, and seconds and nanoseconds of mtime and of ctime,\n"
             "as stat must show them; held keeps the files open. pieces: bytes-like objects, or index of a\n"
             "file, first byte, length. lines: the header lines of the image. Raises TypeError, ValueError.");

static PyType_Slot sender_slots[] = {
    {Py_tp_new, sender_new},
    {Py_tp_dealloc, sender_dealloc},
    {Py_tp_methods, sender_methods},
    {Py_tp_doc, (void *)sender_doc},
    {0, NULL},
};

static PyType_Spec sender_spec = {
    .name = "mic_native.Sender",
    .basicsize = sizeof(Sender),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = sender_slots,
};

/* --- module ----------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"plain_request", plain_request, METH_O, plain_request_doc},
    {NULL, NULL, 0, NULL},
};

static int
fill_module(PyObject *module)
{
    make_kinds();
    PyObject *sender = PyType_FromSpec(&sender_spec);
    if (sender == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Sender", sender);
    Py_DECREF(sender);
    if (failed < 0)
        return -1;
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, fill_module},
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "mic_native",
    .m_doc = "The fast lane of mic, compiled.",
    .m_size = 0,
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit_mic_native(void)
{
    return PyModuleDef_Init(&module);
}
