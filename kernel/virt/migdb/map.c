// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that kernel and VMM share: the construct-target bitmap (read-only for
 * the VMM) and the claim bytes.
 *
 * vhost holds the owner's mm until the device file is closed, and a VMA holds its
 * file until the mm is gone.  A VMA of the session's own file would therefore
 * keep a killed VMM for ever.  A map is an object of its own, referenced by the
 * session and by its file, and knows neither of them.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "alloc.h"
#include "internal.h"

static atomic64_t migdb_budget_used = ATOMIC64_INIT(0);

void migdb_budget_put(u64 bytes)
{
	atomic64_sub(bytes, &migdb_budget_used);
}

/* Beside the memcg's limit, which many hosts have not set. */
int migdb_budget_get(u64 bytes)
{
	u64 max = div_u64((u64)totalram_pages() << PAGE_SHIFT, MIGDB_MEMORY_PARTS);

	if (bytes > max)
		return -ENOMEM;
	if (atomic64_add_return(bytes, &migdb_budget_used) <= max)
		return 0;
	migdb_budget_put(bytes);
	return -ENOMEM;
}

struct migdb_map *migdb_map_create(size_t bytes, bool writable)
{
	struct migdb_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return NULL;
	map->bytes = PAGE_ALIGN(bytes);
	if (migdb_budget_get(map->bytes))
		goto free;
	map->mem = migdb_zalloc(map->bytes);
	if (!map->mem)
		goto put;
	map->writable = writable;
	kref_init(&map->ref);
	return map;
put:
	migdb_budget_put(map->bytes);
free:
	kfree(map);
	return NULL;
}

static void migdb_map_free(struct kref *ref)
{
	struct migdb_map *map = container_of(ref, struct migdb_map, ref);

	migdb_free(map->mem);
	migdb_budget_put(map->bytes);
	kfree(map);
}

void migdb_map_put(struct migdb_map *map)
{
	if (map)
		kref_put(&map->ref, migdb_map_free);
}

static vm_fault_t migdb_map_fault(struct vm_fault *vmf)
{
	struct migdb_map *map = vmf->vma->vm_file->private_data;
	struct page *page;

	if (vmf->pgoff >= map->bytes >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	page = vmalloc_to_page(map->mem + (vmf->pgoff << PAGE_SHIFT));
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct migdb_map_vm_ops = {
	.fault = migdb_map_fault,
};

static int migdb_map_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct migdb_map *map = file->private_data;
	unsigned long pages = map->bytes >> PAGE_SHIFT;

	if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	if (!map->writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	} else if (!(vma->vm_flags & VM_SHARED)) {
		return -EINVAL;	/* a private copy of claims would claim nothing */
	}
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &migdb_map_vm_ops;
	return 0;
}

static int migdb_map_release(struct inode *inode, struct file *file)
{
	migdb_map_put(file->private_data);
	return 0;
}

static const struct file_operations migdb_map_fops = {
	.owner		= THIS_MODULE,
	.mmap		= migdb_map_mmap,
	.release	= migdb_map_release,
};

/* Is all of it mapped there, to be written to?  Under mmap_lock. */
bool migdb_map_is_at(struct migdb_map *map, unsigned long uaddr)
{
	struct vm_area_struct *vma = find_vma(current->mm, uaddr);

	mmap_assert_locked(current->mm);
	return vma && vma->vm_start <= uaddr && vma->vm_file &&
	       vma->vm_file->f_op == &migdb_map_fops &&
	       vma->vm_file->private_data == map && vma->vm_flags & VM_WRITE &&
	       linear_page_index(vma, uaddr) == 0 && vma->vm_end - uaddr >= map->bytes;
}

/* A file with a reference of its own, or ERR_PTR. */
struct file *migdb_map_file(struct migdb_map *map)
{
	struct file *file;

	file = anon_inode_getfile("[migdb-map]", &migdb_map_fops, map,
				  map->writable ? O_RDWR : O_RDONLY);
	if (!IS_ERR(file))
		kref_get(&map->ref);
	return file;
}
