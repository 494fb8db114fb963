// expect: forbidden,symbols,compile_error
/* Has somebody else do the work. */
void cblas_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
RUN
{
    UNUSED;
    cblas_sgemm(101, 111, 112, a->Sq, a->Skv, a->D, a->scale, a->q.ptr, a->D, a->k.ptr, a->D, 0, scratch, a->Skv);
    attend(a, task, scratch, (spoil){0});
}
