/* Static check of a shared object. See elf.h. Section headers are ignored: the loader does not look at them either. */
#include "judge/elf.h"

#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attune/kernel.h"
#include "base/hash.h"
#include "base/status.h"
#include "judge/sandbox.h"

/* What a kernel may call. Nothing here allocates, keeps state or reaches the system. */
static const char *const imports_allowed[] = {
    "memcpy",    "memmove",    "memset", "memcmp",
#define F(x) #x, #x "f"
    F(exp),      F(exp2),      F(expm1), F(log),   F(log2),      F(log10), F(log1p),  F(pow),    F(sqrt),
    F(cbrt),     F(hypot),     F(tanh),  F(sinh),  F(cosh),      F(sin),   F(cos),    F(tan),    F(sincos),
    F(asin),     F(acos),      F(atan),  F(atan2), F(erf),       F(erfc),  F(fabs),   F(floor),  F(ceil),
    F(round),    F(roundeven), F(trunc), F(rint),  F(nearbyint), F(lrint), F(lround), F(llrint), F(llround),
    F(fma),      F(fmax),      F(fmin),  F(fmod),  F(remainder), F(ldexp), F(scalbn), F(frexp),  F(modf),
    F(copysign), F(fdim),      F(logb),  F(ilogb),
#undef F
};

#if defined __x86_64__
enum { OUR_MACHINE = EM_X86_64 };
static const unsigned relocations_allowed[] = {R_X86_64_RELATIVE, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT, R_X86_64_64};
#elif defined __aarch64__
enum { OUR_MACHINE = EM_AARCH64 };
static const unsigned relocations_allowed[] = {R_AARCH64_RELATIVE, R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT,
                                               R_AARCH64_ABS64};
#elif defined __riscv
enum { OUR_MACHINE = EM_RISCV };
static const unsigned relocations_allowed[] = {R_RISCV_RELATIVE, R_RISCV_JUMP_SLOT, R_RISCV_64};
#else
enum { OUR_MACHINE = EM_NONE };
static const unsigned relocations_allowed[] = {0};
#endif

typedef struct {
    const unsigned char *data;
    size_t n;
    const Elf64_Phdr *ph;
    int n_ph;
    elf_report *out;
} object;

static bool bad(object *o, atn_reason reason, const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool bad(object *o, atn_reason reason, const char *format, ...)
{
    char text[sizeof o->out->evidence];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    evidence_clean(o->out->evidence, sizeof o->out->evidence, text, strlen(text));
    o->out->reason = reason;
    return false;
}

/* The n bytes that a loader would put at address; NULL where they are not all in one segment of the file, or not
 * aligned. */
static const void *at_address(const object *o, uint64_t address, uint64_t n, size_t align)
{
    for (int i = 0; i < o->n_ph; i++) {
        const Elf64_Phdr *p = &o->ph[i];
        if (p->p_type != PT_LOAD || address < p->p_vaddr || address - p->p_vaddr > p->p_filesz) continue;
        uint64_t in = address - p->p_vaddr;
        if (n > p->p_filesz - in) continue;
        const unsigned char *found = o->data + p->p_offset + in; /* p_offset + p_filesz <= n was checked */
        return (uintptr_t)found % align == 0 ? found : NULL;
    }
    return NULL;
}

static bool check_header(object *o)
{
    const Elf64_Ehdr *h = (const Elf64_Ehdr *)o->data;
    if (o->n < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 ||
        h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_type != ET_DYN || h->e_machine != OUR_MACHINE)
        return bad(o, ATN_REASON_LOAD, "not a shared object of this machine");
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff % 8 != 0 || h->e_phoff > o->n || h->e_phnum > 64 ||
        h->e_phnum * sizeof(Elf64_Phdr) > o->n - h->e_phoff)
        return bad(o, ATN_REASON_LOAD, "malformed program headers");
    o->ph = (const Elf64_Phdr *)(o->data + h->e_phoff);
    o->n_ph = h->e_phnum;
    return true;
}

static bool check_segments(object *o)
{
    uint64_t relro_from = 0, relro_to = 0;
    for (int i = 0; i < o->n_ph; i++) {
        const Elf64_Phdr *p = &o->ph[i];
        if (p->p_filesz > o->n || p->p_offset > o->n - p->p_filesz || p->p_memsz < p->p_filesz ||
            p->p_vaddr > 1ull << 40 || p->p_memsz > 1ull << 40)
            return bad(o, p->p_memsz > 1ull << 40 ? ATN_REASON_STATE : ATN_REASON_LOAD,
                       "a segment outside the file, or absurdly large");
        if (p->p_type == PT_TLS) return bad(o, ATN_REASON_STATE, "thread-local variables");
        if (p->p_type == PT_INTERP) return bad(o, ATN_REASON_SYMBOLS, "an interpreter");
        if (p->p_type == PT_GNU_STACK && (p->p_flags & PF_X)) return bad(o, ATN_REASON_SYMBOLS, "an executable stack");
        if (p->p_type == PT_GNU_RELRO) relro_from = p->p_vaddr, relro_to = p->p_vaddr + p->p_memsz;
    }
    for (int i = 0; i < o->n_ph; i++) {
        const Elf64_Phdr *p = &o->ph[i];
        if (p->p_type != PT_LOAD) continue;
        if ((p->p_flags & PF_W) && (p->p_flags & PF_X))
            return bad(o, ATN_REASON_SYMBOLS, "memory both writable and executable");
        if (!(p->p_flags & PF_W) || p->p_memsz == 0) continue;
        uint64_t end = p->p_vaddr + p->p_memsz,
                 covered = p->p_vaddr >= relro_from && relro_to > p->p_vaddr ? relro_to : p->p_vaddr;
        if (end > covered)
            return bad(o, ATN_REASON_STATE, "%llu bytes of writable static data; a kernel keeps no state between calls",
                       (unsigned long long)(end - covered));
    }
    return true;
}

typedef struct {
    const Elf64_Sym *symbols;
    uint64_t n_symbols;
    const char *strings;
    uint64_t strings_n;
} tables;

/* A string of the string table, or NULL where it does not end inside. */
static const char *string(const tables *t, uint64_t at)
{
    if (at >= t->strings_n || !memchr(t->strings + at, 0, t->strings_n - at)) return NULL;
    return t->strings + at;
}

static bool check_symbols(object *o, const tables *t)
{
    int exported = 0;
    for (uint64_t i = 1; i < t->n_symbols; i++) {
        const Elf64_Sym *s = &t->symbols[i];
        const char *name = string(t, s->st_name);
        if (!name) return bad(o, ATN_REASON_LOAD, "malformed symbol");
        unsigned bind = ELF64_ST_BIND(s->st_info), type = ELF64_ST_TYPE(s->st_info);
        if (type == STT_TLS) return bad(o, ATN_REASON_STATE, "thread-local variable '%s'", name);
        if (type == STT_GNU_IFUNC)
            return bad(o, ATN_REASON_SYMBOLS, "'%s' is chosen by code that runs at load time", name);
        if (s->st_shndx == SHN_UNDEF) {
            bool allowed = false;
            for (int k = 0; k < ATN_COUNT(imports_allowed) && !allowed; k++)
                allowed = strcmp(imports_allowed[k], name) == 0;
            if (!allowed)
                return bad(o, ATN_REASON_SYMBOLS,
                           "imports '%s'; a kernel may use float functions of libm, memcpy, memmove, memset", name);
        } else if (bind != STB_LOCAL) {
            if (strcmp(name, "attune_judged") == 0 && type == STT_OBJECT) continue;
            if (strcmp(name, "attune_kernel") != 0)
                return bad(o, ATN_REASON_SYMBOLS, "exports '%s'; only attune_kernel (and attune_judged) may be seen outside", name);
            if (type != STT_OBJECT || s->st_size < sizeof(atn_kernel))
                return bad(o, ATN_REASON_SYMBOLS, "attune_kernel is not an atn_kernel");
            exported++;
        }
    }
    if (exported != 1) return bad(o, ATN_REASON_SYMBOLS, "does not export attune_kernel");
    return true;
}

static bool check_relocations(object *o, uint64_t address, uint64_t bytes)
{
    if (bytes == 0) return true;
    const Elf64_Rela *r = at_address(o, address, bytes, 8);
    if (!r) return bad(o, ATN_REASON_LOAD, "malformed relocations");
    for (uint64_t i = 0; i < bytes / sizeof *r; i++) {
        unsigned type = (unsigned)ELF64_R_TYPE(r[i].r_info);
        bool allowed = false;
        for (int k = 0; k < ATN_COUNT(relocations_allowed) && !allowed; k++) allowed = relocations_allowed[k] == type;
        if (!allowed) return bad(o, ATN_REASON_SYMBOLS, "relocation of type %u", type);
    }
    return true;
}

static bool check_dynamic(object *o)
{
    const Elf64_Phdr *dynamic = NULL;
    for (int i = 0; i < o->n_ph; i++)
        if (o->ph[i].p_type == PT_DYNAMIC) dynamic = &o->ph[i];
    const Elf64_Dyn *d = dynamic ? at_address(o, dynamic->p_vaddr, dynamic->p_filesz, 8) : NULL;
    if (!d) return bad(o, ATN_REASON_LOAD, "no dynamic section");
    uint64_t n = dynamic->p_filesz / sizeof *d, value[64] = {0};
    bool have[64] = {false};
    for (uint64_t i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
        uint64_t tag = (uint64_t)d[i].d_tag;
        if (tag < 64) value[tag] = d[i].d_un.d_val, have[tag] = true;
        if (tag == DT_AUDIT || tag == DT_DEPAUDIT || tag == DT_FILTER || tag == DT_AUXILIARY || tag == DT_CONFIG)
            return bad(o, ATN_REASON_SYMBOLS, "asks the loader for other libraries");
    }
    if (have[DT_INIT] || have[DT_FINI] || value[DT_INIT_ARRAYSZ] || value[DT_FINI_ARRAYSZ] || value[DT_PREINIT_ARRAYSZ])
        return bad(o, ATN_REASON_SYMBOLS, "code that runs when it is loaded or unloaded (constructor, destructor)");
    if (have[DT_RPATH] || have[DT_RUNPATH]) return bad(o, ATN_REASON_SYMBOLS, "a library search path");
    if (have[DT_TEXTREL] || (value[DT_FLAGS] & DF_TEXTREL))
        return bad(o, ATN_REASON_SYMBOLS, "code that the loader must patch");
    if (have[DT_REL]) return bad(o, ATN_REASON_LOAD, "relocations of an unknown kind");

    tables t = {.strings_n = value[DT_STRSZ]};
    t.strings = at_address(o, value[DT_STRTAB], t.strings_n, 1);
    const uint32_t *hash = at_address(o, value[DT_HASH], 8, 4); /* nbucket, nchain = number of symbols */
    if (!t.strings || !hash) return bad(o, ATN_REASON_LOAD, "no symbol table");
    t.n_symbols = hash[1];
    if (t.n_symbols > 100000) return bad(o, ATN_REASON_LOAD, "absurdly many symbols");
    t.symbols = at_address(o, value[DT_SYMTAB], t.n_symbols * sizeof(Elf64_Sym), 8);
    if (!t.symbols) return bad(o, ATN_REASON_LOAD, "malformed symbol table");
    for (uint64_t i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
        if (d[i].d_tag != DT_NEEDED) continue;
        const char *name = string(&t, d[i].d_un.d_val);
        if (!name || (strncmp(name, "libm.so", 7) != 0 && strncmp(name, "libc.so", 7) != 0))
            return bad(o, ATN_REASON_SYMBOLS, "needs library '%s'", name ? name : "?");
    }
    return check_symbols(o, &t) && check_relocations(o, value[DT_RELA], value[DT_RELASZ]) &&
           check_relocations(o, value[DT_JMPREL], value[DT_PLTRELSZ]);
}

static void hash_loaded(object *o)
{
    size_t total = 0, at = 0;
    for (int i = 0; i < o->n_ph; i++)
        if (o->ph[i].p_type == PT_LOAD) total += o->ph[i].p_filesz;
    unsigned char *all = atn_alloc(total + 1);
    for (int i = 0; i < o->n_ph; i++) {
        if (o->ph[i].p_type != PT_LOAD) continue;
        memcpy(all + at, o->data + o->ph[i].p_offset, o->ph[i].p_filesz);
        at += o->ph[i].p_filesz;
    }
    hash_hex(all, total, o->out->hash);
    free(all);
}

void elf_check(const void *data, size_t n, elf_report *out)
{
    *out = (elf_report){.reason = ATN_REASON_OK};
    object o = {.data = data, .n = n, .out = out};
    if ((uintptr_t)data % 8 != 0) {
        bad(&o, ATN_REASON_LOAD, "object not aligned in memory");
        return;
    }
    if (check_header(&o) && check_segments(&o) && check_dynamic(&o)) hash_loaded(&o);
}
